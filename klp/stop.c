/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/stop.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "klp/callclass.h"

#define KLP_STOP_WAIT_NS   20000000ull /* a thread that does not stop by then (D state, vfork) is let go */
#define KLP_ERESTARTSYS    512
#define KLP_ERESTARTNOHAND 514
#define KLP_ERESTART_RESTARTBLOCK 516
#define KLP_STOP_EVENT     128 /* PTRACE_EVENT_STOP */

static uint64_t klp_stop_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* Between the two calls nothing may delay us: a stopped thread waits for us. */
static void klp_stop_hurry(struct klp_stop *st, bool on)
{
	struct sched_param fifo = {.sched_priority = on ? 1 : 0};
	sigset_t set, old;

	if (on) {
		sigemptyset(&set);
		for (int s = 1; s < 32; s++)
			if (s != SIGSEGV && s != SIGBUS && s != SIGILL && s != SIGFPE && s != SIGTRAP && s != SIGABRT)
				sigaddset(&set, s);
		sigprocmask(SIG_BLOCK, &set, &old);
		memcpy(&st->old_signals, &old, sizeof(st->old_signals));
		sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &fifo);
	} else {
		sched_setscheduler(0, SCHED_OTHER, &fifo);
		sigemptyset(&set);
		memcpy(&set, &st->old_signals, sizeof(st->old_signals));
		sigprocmask(SIG_SETMASK, &set, NULL);
	}
}

/* Waits for the stop, at most KLP_STOP_WAIT_NS. Returns the wait status, 0 if it has none yet, -1 if the thread is gone. */
static int klp_stop_wait(pid_t tid, uint64_t until)
{
	int status = 0;

	for (;;) {
		pid_t got = waitpid(tid, &status, __WALL | WNOHANG);

		if (got == tid)
			return WIFSTOPPED(status) ? status : -1;
		if (got < 0 && errno != EINTR)
			return -1;
		if (klp_stop_now() > until)
			return 0;
		if (until - klp_stop_now() < KLP_STOP_WAIT_NS - 50000) {
			struct timespec t = {0, 2000};

			nanosleep(&t, NULL);
		} else {
			sched_yield();
		}
	}
}

/* The kernel then restarts the call by itself, or makes it EINTR again if a handler runs. */
static void klp_stop_repair(struct klp_stop *st)
{
	if (!st->eintr)
		return;
	st->regs.rax = (unsigned long long)-KLP_ERESTARTNOHAND;
	ptrace(PTRACE_SETREGS, st->tid, NULL, &st->regs);
}

int klp_stop_begin(struct klp_remote *r, pid_t tid, struct klp_stop *st, struct klp_error *e)
{
	int status;

	memset(st, 0, sizeof(*st));
	st->r = r;
	st->tid = tid;
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL)) {
		if (errno == ESRCH)
			return 0;
		return klp_fail(e, errno, errno == EPERM ? KLP_TRACED : KLP_PERMISSION, "thread %d cannot be seized: %s", tid, strerror(errno));
	}
	klp_stop_hurry(st, true);
	st->began_ns = klp_stop_now();
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL))
		goto gone;
	status = klp_stop_wait(tid, st->began_ns + KLP_STOP_WAIT_NS);
	while (!status) {
		/* It stops some day (uninterruptible sleep, vfork): the answer must come at once then, so we stay with it. */
		status = klp_stop_wait(tid, klp_stop_now() + 10 * KLP_STOP_WAIT_NS);
		st->began_ns = klp_stop_now();
	}
	if (status < 0)
		goto gone;
	if (ptrace(PTRACE_GETREGS, tid, NULL, &st->regs) ||
	    ptrace(PTRACE_GETSIGMASK, tid, (void *)sizeof(st->mask), &st->mask)) {
		ptrace(PTRACE_DETACH, tid, NULL, NULL);
		goto gone;
	}
	if ((long)st->regs.orig_rax >= 0) {
		const uint64_t arg[6] = {st->regs.rdi, st->regs.rsi, st->regs.rdx, st->regs.r10, st->regs.r8, st->regs.r9};
		long result = (long)st->regs.rax;

		st->eintr = result == -EINTR && klp_call_eintr_restarts((long)st->regs.orig_rax, arg);
		st->in_call = st->eintr || (result <= -KLP_ERESTARTSYS && result >= -KLP_ERESTART_RESTARTBLOCK);
	}
	if (status >> 16 != KLP_STOP_EVENT || WSTOPSIG(status) != SIGTRAP) {
		/*
		 * A signal on its way goes on; a group stop is armed again by the detach. A signal that would be ignored wakes a traced
		 * thread too, and so may have ended its call: that is repaired like any other.
		 */
		klp_stop_repair(st);
		ptrace(PTRACE_DETACH, tid, NULL, (void *)(long)(status >> 16 ? 0 : WSTOPSIG(status)));
		klp_stop_hurry(st, false);
		return 0;
	}
	r->threads_stopped++;
	return 1;
gone:
	klp_stop_hurry(st, false);
	return 0;
}

void klp_stop_end(struct klp_stop *st, bool regs_changed)
{
	uint64_t took;

	if (!regs_changed)
		klp_stop_repair(st);
	ptrace(PTRACE_DETACH, st->tid, NULL, NULL);
	took = klp_stop_now() - st->began_ns;
	klp_stop_hurry(st, false);
	if (took > st->r->longest_stop_ns)
		st->r->longest_stop_ns = took;
}
