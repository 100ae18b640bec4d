/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A2: a call that the stop has ended with EINTR is issued again, and it is the call that the thread was in then, not
 * the one before it: here the same instruction receives from two sockets by turns, and only the first argument, which
 * aarch64 and riscv64 overwrite with the result, says which. A receiver that is sent to the wrong one waits for ever.
 * Where nobody tells that argument it is not issued again.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "common.h"
#include "klp/stop.h"
#include "klp/tracer.h"

#define PAUSE_NS 30000
#define STALL_MS 10000u
#ifdef KLP_EMULATED
#define QUICK 1000
#else
#define QUICK 3000
#endif

struct talk {
	atomic_uint received, eintr, wrong;
};

struct loop {
	struct klp_remote r;
	unsigned stops, restarts;
	struct klp_error e;
};

static struct talk *talk;

static void receives_by_turns(const int fd[2])
{
	char c;

	for (unsigned turn = 0;;) {
		long n = syscall(SYS_recvfrom, fd[turn], &c, 1, 0, NULL, NULL);

		if (n == 1 && c == (char)('a' + turn)) {
			turn = !turn;
			atomic_fetch_add(&talk->received, 1);
		} else if (n < 0 && errno == EINTR) {
			atomic_fetch_add(&talk->eintr, 1);
		} else {
			atomic_fetch_add(&talk->wrong, 1);
		}
	}
}

static void sends_by_turns(const int fd[2])
{
	for (unsigned n = 0;; n++) {
		uint64_t until = now_ns() + (uint64_t)(random() % PAUSE_NS);
		char c = (char)('a' + n % 2);

		while (now_ns() < until)
			;
		if (send(fd[n % 2], &c, 1, 0) != 1)
			_exit(1);
		while (atomic_load(&talk->received) <= n)
			;
	}
}

/* Its tracing thread's end lets it go. */
static int stop_once(void *arg)
{
	struct loop *l = arg;
	struct klp_stop st;
	int rc = klp_stop_begin(&l->r, l->r.p->pid, &st, &l->e);

	if (rc <= 0)
		return rc;
	l->stops++;
	l->restarts += st.eintr;
	klp_stop_end(&st);
	return 0;
}

int main(void)
{
	struct timeval timeout = {.tv_sec = 1000}; /* with it the call is not restarted, but fails with EINTR */
	int in[2], out[2], pair[2], rc;
	struct klp_process p;
	struct loop l = {.stops = 0};
	unsigned done = 0, all = rounds(QUICK, 100000);
	pid_t target, sender;

	talk = shared(sizeof(*talk));
	for (unsigned i = 0; i < 2; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) ||
		    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)))
			return 1;
		in[i] = pair[0];
		out[i] = pair[1];
	}
	target = fork_bound();
	if (!target)
		receives_by_turns(in);
	sender = fork_bound();
	if (!sender)
		sends_by_turns(out);
	if (klp_process_open(target, &p, &l.e)) {
		check(false, "it cannot be opened: %s", l.e.text);
		return check_end();
	}
	l.r.p = &p;
	while (done < all) {
		unsigned before = atomic_load(&talk->received);
		uint64_t until;

		rc = klp_tracer_run(stop_once, &l, &l.e);
		check(!rc, "stopping it: %s %s", klp_reason_name(l.e.reason), l.e.text);
		until = now_ns() + STALL_MS * 1000000ull;
		while (atomic_load(&talk->received) == before && now_ns() < until)
			sleep_ms(1);
		if (rc || atomic_load(&talk->received) == before)
			break;
		done++;
	}
	check(done == all, "after %u stops it waits for what nobody sends", l.stops);
	check((l.restarts > 0) == klp_registers_call_is_known(SYS_recvfrom), "%u calls have been issued again",
	      l.restarts);
	check(!talk->wrong, "%u bytes of the other socket", talk->wrong);
	printf("%u stops, %u calls issued again, %u failed with EINTR, %u received\n", l.stops, l.restarts, talk->eintr,
	       talk->received);
	klp_process_close(&p);
	finish(sender);
	finish(target);
	return check_end();
}
