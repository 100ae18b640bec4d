/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard A2: the tool is killed while a thread is stopped for it, and what traces for it as well. The stop has ended
 * the thread's epoll_wait with EINTR, and nobody is left to put that right. klp_stop_begin is replaced: behind the real
 * one the tool is no more.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klp/stop.h"
#include "tests/remote/common.h"

#define ROUNDS 20u
#define AGAIN_MS 5000u

struct talk {
	atomic_uint waiting, woken, wrong;
};

static struct talk *talk;

int __wrap_klp_stop_begin(struct klp_remote *r, pid_t tid, struct klp_stop *st, struct klp_error *e);
int __real_klp_stop_begin(struct klp_remote *r, pid_t tid, struct klp_stop *st, struct klp_error *e);

int __wrap_klp_stop_begin(struct klp_remote *r, pid_t tid, struct klp_stop *st, struct klp_error *e)
{
	int rc = __real_klp_stop_begin(r, tid, st, e);

	if (rc > 0)
		tool_is_killed(true); /* the kernel lets the thread go with the registers that it has */
	return rc;
}

static void wait_for(int event)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int fd = epoll_create1(0);

	if (epoll_ctl(fd, EPOLL_CTL_ADD, event, &ev))
		atomic_fetch_add(&talk->wrong, 1);
	atomic_store(&talk->waiting, 1);
	if (epoll_wait(fd, &ev, 1, -1) != 1)
		atomic_fetch_add(&talk->wrong, 1);
	atomic_store(&talk->woken, 1);
	_exit(0);
}

int main(void)
{
	int event = eventfd(0, 0);
	uint64_t one = 1, got;

	talk = shared(sizeof(*talk));
	for (unsigned i = 0; i < ROUNDS; i++) {
		pid_t target;
		uint64_t until;

		memset(talk, 0, sizeof(*talk));
		target = fork_bound();
		if (!target)
			wait_for(event);
		while (!atomic_load(&talk->waiting))
			sleep_ms(1);
		sleep_ms(5);
		check(tool_dies(target), "round %u: the tool did not die where it was to", i);
		sleep_ms(5);
		check(!atomic_load(&talk->woken), "round %u: the wait ended when the tool was killed", i);
		check(write(event, &one, sizeof(one)) == sizeof(one), "the event cannot be written");
		until = now_ns() + AGAIN_MS * 1000000ull;
		while (!atomic_load(&talk->woken) && now_ns() < until)
			sleep_ms(1);
		check(atomic_load(&talk->woken), "round %u: the wait has not ended", i);
		check(!atomic_load(&talk->wrong), "round %u: the wait ended with an error", i);
		check(read(event, &got, sizeof(got)) == sizeof(got), "the event cannot be read");
		finish(target);
	}
	return check_end();
}
