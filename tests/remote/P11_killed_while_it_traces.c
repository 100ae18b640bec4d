/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P11: kill -9 of the tool at each of its ptrace calls: in front of it, and behind it, before the tool has seen what it
 * did. The stop ends the system call of the thread that it stops, with EINTR if that is epoll_wait, and only who traces
 * can put that right. So the thread's wait must go on whenever the tool is killed (klp/tracer.h), and the next tool
 * finds everything in order.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "common.h"

#define CALLS_MAX 2000u

struct talk {
	atomic_uint waiting, ended;
};

static struct talk *talk;
static unsigned kill_at, calls; /* of the tool; each call counts twice */

long __real_ptrace(int request, ...);
long __wrap_ptrace(int request, ...);

static void now(void)
{
	if (kill_at && ++calls == kill_at)
		tool_is_killed(false);
}

long __wrap_ptrace(int request, ...)
{
	va_list ap;
	pid_t pid;
	void *addr, *data;
	long rc;

	va_start(ap, request);
	pid = va_arg(ap, pid_t);
	addr = va_arg(ap, void *);
	data = va_arg(ap, void *);
	va_end(ap);
	now();
	rc = __real_ptrace(request, pid, addr, data);
	now();
	return rc;
}

static void *wait_for(void *arg)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int fd = epoll_create1(0);

	if (!epoll_ctl(fd, EPOLL_CTL_ADD, *(int *)arg, &ev)) {
		atomic_fetch_add(&talk->waiting, 1);
		epoll_wait(fd, &ev, 1, -1);
	}
	atomic_fetch_add(&talk->ended, 1);
	return NULL;
}

int main(void)
{
	struct tool_result *r = shared(sizeof(*r));
	int event = eventfd(0, 0);
	char *before, *after;
	bool killed = true;
	pid_t target;

	talk = shared(sizeof(*talk));
	target = fork_bound();
	if (!target) {
		pthread_t t;

		pthread_create(&t, NULL, wait_for, &event);
		wait_for(&event);
		_exit(1);
	}
	while (atomic_load(&talk->waiting) != 2)
		sleep_ms(1);
	sleep_ms(20);
	before = maps_text(target);
	for (unsigned n = 1; killed && n < CALLS_MAX; n++) {
		kill_at = n; /* the tool is a child, with a copy */
		killed = tool_dies(target);
		kill_at = 0;
		sleep_ms(1);
		check(!atomic_load(&talk->ended), "killed at %u: a wait has ended", n);
		tool_cycles(target, 1, 5000, false, r);
		check(!r->rc, "the tool behind that killed at %u: %s %s", n, klp_reason_name(r->error.reason),
		      r->error.text);
		check(!atomic_load(&talk->ended), "the tool behind that killed at %u: a wait has ended", n);
		if (!killed)
			printf("killed at each of %u places\n", n - 1);
		if (atomic_load(&talk->ended))
			break;
	}
	check(!killed, "the tool made more than %u calls of ptrace", CALLS_MAX / 2);
	after = maps_text(target);
	check(!strcmp(before, after), "mappings before:\n%s\nafter:\n%s", before, after);
	finish(target);
	return check_end();
}
