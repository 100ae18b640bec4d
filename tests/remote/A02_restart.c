/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard A2: the call of a thread that is let go is restarted by the kernel, and a signal that is handled in the moment
 * before the call begins anew does not end it. `while (!quit) epoll_wait(-1)` of a process with one thread must not
 * sleep on, nor `while (!quit) read()` with a handler without SA_RESTART. ptrace is replaced by one that sends signals
 * just behind the detach, or, so that the moment is met every time, before it, with the registers put back as the
 * kernel's restart does (arch_do_signal_or_restart).
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

#define ERESTARTSYS_ 512
#define ERESTARTNOHAND_ 514
#define ANSWER_MS 2000u
#define SPAN_NS 40000 /* the call begins anew about 10 us behind the detach, later on a machine that has much to do */

struct talk {
	atomic_uint ready, sent, seen, handled, wrong;
};

static struct talk *talk;
static volatile sig_atomic_t quit;
static pid_t target;
static bool armed, forced;
static unsigned delay;

long __wrap_ptrace(enum __ptrace_request request, ...);
long __real_ptrace(enum __ptrace_request request, ...);

long __wrap_ptrace(enum __ptrace_request request, ...)
{
	void *addr, *data;
	pid_t pid;
	long rc;
	va_list ap;

	va_start(ap, request);
	pid = va_arg(ap, pid_t);
	addr = va_arg(ap, void *);
	data = va_arg(ap, void *);
	va_end(ap);
	if (request == PTRACE_DETACH && armed && forced) {
		struct user_regs_struct regs;

		rc = __real_ptrace(PTRACE_GETREGS, pid, NULL, &regs);
		if (!rc && (long)regs.orig_rax >= 0 &&
		    ((long)regs.rax == -ERESTARTNOHAND_ || (long)regs.rax == -ERESTARTSYS_)) {
			armed = false;
			regs.rax = regs.orig_rax;
			regs.rip -= 2;
			regs.orig_rax = (unsigned long long)-1;
			rc = __real_ptrace(PTRACE_SETREGS, pid, NULL, &regs);
			atomic_fetch_add(&talk->sent, 1);
			kill(target, SIGTERM);
		}
	}
	rc = __real_ptrace(request, pid, addr, data);
	if ((request == PTRACE_DETACH || request == PTRACE_CONT) && armed && !forced) {
		uint64_t until;

		delay = random() % 4 ? 7000 + (unsigned)(random() % 5000) : (unsigned)(random() % SPAN_NS);
		until = now_ns() + delay;
		armed = false; /* once in a cycle: the next detach is perhaps the one that mends it */
		while (now_ns() < until)
			;
		atomic_fetch_add(&talk->sent, 1);
		kill(target, SIGTERM);
	}
	return rc;
}

static void on_signal(int sig)
{
	(void)sig;
	quit = 1;
	atomic_fetch_add(&talk->handled, 1);
}

static void flag_loop(bool reads)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct epoll_event ev;
	int fd = epoll_create1(0), pipe_fd[2];
	char c;

	sigaction(SIGTERM, &sa, NULL);
	if (pipe(pipe_fd))
		_exit(1);
	atomic_store(&talk->ready, 1);
	for (;;) {
		while (!quit)
			if ((reads ? read(pipe_fd[0], &c, 1) : epoll_wait(fd, &ev, 1, -1)) != -1 || errno != EINTR)
				atomic_fetch_add(&talk->wrong, 1);
		quit = 0;
		atomic_fetch_add(&talk->seen, 1);
	}
}

static void signals(const char *name, bool reads)
{
	unsigned count = rounds(150, 10000), lost = 0;
	struct tool_result r = {0};

	memset(talk, 0, sizeof(*talk));
	target = fork_bound();
	if (!target)
		flag_loop(reads);
	while (!atomic_load(&talk->ready))
		sleep_ms(1);
	for (unsigned i = 0; i < count && lost < 5; i++) {
		uint64_t until;

		armed = true;
		forced = i % 2;
		if (cycle(target, 5000, &r)) {
			check(false, "%s: cycle %u: %s %s", name, i, klp_reason_name(r.error.reason), r.error.text);
			break;
		}
		until = now_ns() + ANSWER_MS * 1000000ull;
		while (talk->seen < talk->sent && now_ns() < until)
			sleep_ms(1);
		if (talk->seen < talk->sent) {
			lost++;
			if (forced)
				fprintf(stderr, "%s: the one before the call began anew was lost\n", name);
			else
				fprintf(stderr, "%s: the one sent %u ns behind the thread's release was lost\n", name,
					delay);
			talk->sent = talk->seen + 1;
			kill(target, SIGTERM);
			while (talk->seen < talk->sent)
				sleep_ms(1);
		}
	}
	armed = false;
	check(!lost, "%s: %u of %u signals were lost: the loop slept on", name, lost, talk->sent);
	check(!talk->wrong, "%s: %u calls ended without a signal", name, talk->wrong);
	printf("%s: %u signals, %u handled, %u stops\n", name, talk->sent, talk->handled, r.stops);
	finish(target);
}

int main(void)
{
	talk = shared(sizeof(*talk));
	srandom((unsigned)getpid());
	signals("epoll_wait", false);
	signals("read", true);
	return check_end();
}
