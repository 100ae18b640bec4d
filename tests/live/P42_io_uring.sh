#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A ring with a polling thread of the kernel (SQPOLL), and requests that kernel workers wait in: these threads are in the process's list and have no code of
# its own. None is waited for or stopped, requests in flight end as they should, and no submission is lost.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/x \* 10 + 1/x * 10 + 2/' <<'C'
#include <errno.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WORKERS 3

struct ring {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_flags, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
};
static struct ring polled, plain;
static int pipes[WORKERS][2];
static char bytes[WORKERS];
static atomic_long nops, wrong;

__attribute__((noipa)) int answer(int x)
{
	return x * 10 + 1;
}

static int ring_open(struct ring *r, unsigned flags)
{
	struct io_uring_params p = {.flags = flags, .sq_thread_idle = 60000};
	char *sq, *cq;

	r->fd = (int)syscall(SYS_io_uring_setup, 8, &p);
	if (r->fd < 0)
		return -errno;
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(*r->cqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd,
		  IORING_OFF_CQ_RING);
	r->sqe = mmap(NULL, p.sq_entries * sizeof(*r->sqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || r->sqe == MAP_FAILED)
		abort();
	r->sq_tail = (unsigned *)(sq + p.sq_off.tail);
	r->sq_mask = (unsigned *)(sq + p.sq_off.ring_mask);
	r->sq_flags = (unsigned *)(sq + p.sq_off.flags);
	r->sq_array = (unsigned *)(sq + p.sq_off.array);
	r->cq_head = (unsigned *)(cq + p.cq_off.head);
	r->cq_tail = (unsigned *)(cq + p.cq_off.tail);
	r->cq_mask = (unsigned *)(cq + p.cq_off.ring_mask);
	r->cqe = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
	return 0;
}

static void ring_put(struct ring *r, const struct io_uring_sqe *sqe)
{
	unsigned tail = *r->sq_tail, i = tail & *r->sq_mask;

	r->sqe[i] = *sqe;
	r->sq_array[i] = i;
	__atomic_store_n(r->sq_tail, tail + 1, __ATOMIC_RELEASE);
}

static int ring_get(struct ring *r, unsigned long long *data)
{
	unsigned head = *r->cq_head;
	int res;

	while (__atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE) == head)
		usleep(200);
	*data = r->cqe[head & *r->cq_mask].user_data;
	res = r->cqe[head & *r->cq_mask].res;
	__atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
	return res;
}

/* Submits to the polling thread without any call, and waits for each answer. */
static void *submit(void *arg)
{
	for (unsigned long long n = 1;; n++) {
		struct io_uring_sqe sqe = {.opcode = IORING_OP_NOP, .user_data = n};
		unsigned long long data;

		ring_put(&polled, &sqe);
		if (__atomic_load_n(polled.sq_flags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP)
			syscall(SYS_io_uring_enter, polled.fd, 0, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0);
		if (ring_get(&polled, &data) || data != n)
			wrong++;
		nops++;
	}
	return arg;
}

int main(void)
{
	char line[64];
	pthread_t t;
	int rc = ring_open(&plain, 0);

	if (!rc)
		rc = ring_open(&polled, IORING_SETUP_SQPOLL);
	if (!rc && pthread_create(&t, NULL, submit, NULL))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		long v = 0;

		if (!strncmp(line, "ring", 4)) {
			v = rc;
		} else if (!strncmp(line, "read", 4)) { /* the kernel's workers wait in these */
			for (int i = 0; i < WORKERS; i++) {
				struct io_uring_sqe sqe = {.opcode = IORING_OP_READ, .flags = IOSQE_ASYNC, .off = ~0ull, .len = 1};

				if (pipe(pipes[i]))
					return 1;
				sqe.fd = pipes[i][0];
				sqe.addr = (unsigned long long)&bytes[i];
				sqe.user_data = (unsigned long long)i;
				ring_put(&plain, &sqe);
			}
			v = syscall(SYS_io_uring_enter, plain.fd, WORKERS, 0, 0, NULL, 0) != WORKERS;
		} else if (!strncmp(line, "done", 4)) { /* how many requests have ended already */
			v = (long)(__atomic_load_n(plain.cq_tail, __ATOMIC_ACQUIRE) - *plain.cq_head);
		} else if (!strncmp(line, "end", 3)) {
			for (int i = 0; i < WORKERS; i++) {
				unsigned long long data;

				if (write(pipes[i][1], "abc" + i, 1) != 1)
					return 1;
				v += ring_get(&plain, &data) == 1 && data == (unsigned long long)i && bytes[i] == 'a' + i;
			}
		} else if (!strncmp(line, "nops", 4)) {
			v = nops;
		} else if (!strncmp(line, "wrong", 5)) {
			v = wrong;
		} else {
			v = answer(4);
		}
		printf("%ld\n", v);
		fflush(stdout);
	}
}
C
target t "$work/tree/prog"
ask ring
[ "$REPLY" = 0 ] || skip "no io_uring with a polling thread here: $REPLY"
expect 0 read
kernel_made() { # NAME: how many threads of the process have it
	cat "/proc/$(p)"/task/*/comm 2>/dev/null | grep -c "^$1"
}
# shellcheck disable=SC2317 # wait_for calls it
workers() { [ "$(kernel_made iou-wrk)" -ge 1 ]; }
wait_for 10 workers || die "the kernel made no worker: $(cat "/proc/$(p)"/task/*/comm)"
[ "$(kernel_made iou-sqp)" -ge 1 ] || die "the kernel made no polling thread"
for ((i = 0; i < $(full 10 500); i++)); do
	ask nops
	# shellcheck disable=SC2034 # used where wait_for evaluates it
	nops=$REPLY
	ctl 0 load -v --json --timeout 20 -p "$(p)" "$work/own.klp"
	expect 42 x
	expect_result 0 '.pending | length'
	expect_result 0 .early_returns
	wait_for 20 eval 'ask nops; [ "$REPLY" -gt $nops ]' || die "the polling thread does nothing any more"
	ctl 0 unload -v --json --timeout 20 -p "$(p)" own
	expect_result false .memory_left
	expect 41 x
	expect 0 'done'
done
expect 0 wrong
"$klpctl" stack --json -p "$(p)" >"$work/stack" || die "stack"
[ "$(jq '[.processes[0].threads[] | select((.name | startswith("iou-")) and (.frames | length > 0))] | length' "$work/stack")" = 0 ] ||
	die "kernel-made threads are said to have frames: $(cat "$work/stack")"
workers || die "the workers have gone"
expect 3 end
expect 0 wrong
