/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard B3: what could delay the tool while it holds a thread of the target. ptrace is replaced: as soon as the thread
 * is known to be stopped, the tool must have real time (where that is permitted), its memory locked, and job control's
 * and the terminal's signals blocked; afterwards all is as it was.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "tests/remote/common.h"

#define STOPS 10u

long __real_ptrace(int request, pid_t pid, void *addr, void *data);
long __wrap_ptrace(int request, pid_t pid, void *addr, void *data);

static const int job_control[] = {SIGINT, SIGTSTP, SIGTTOU, SIGTTIN, SIGQUIT, SIGTERM, SIGHUP};
static unsigned windows;

static int policy(void)
{
	return sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
}

long __wrap_ptrace(int request, pid_t pid, void *addr, void *data)
{
	long rc = __real_ptrace(request, pid, addr, data);
	sigset_t set;

	if (request != PTRACE_GETREGS || rc)
		return rc;
	windows++;
	check(policy() == SCHED_FIFO, "scheduling policy %d while a thread is stopped", policy());
	sigprocmask(SIG_SETMASK, NULL, &set);
	for (size_t i = 0; i < sizeof(job_control) / sizeof(job_control[0]); i++)
		check(sigismember(&set, job_control[i]), "signal %d is not blocked while a thread is stopped",
		      job_control[i]);
	return rc;
}

static unsigned long locked_kib(void)
{
	char line[256];
	unsigned long kib = 0;
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmLck: %lu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

static void nothing(void *ctx, pid_t tid, const struct klp_unw_regs *regs, uint64_t thread_pointer)
{
	(void)ctx;
	(void)tid;
	(void)regs;
	(void)thread_pointer;
}

int main(void)
{
	const struct sched_param fifo = {.sched_priority = 1}, other = {.sched_priority = 0};
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_process p;
	struct klp_remote r;
	sigset_t before, after;
	unsigned stopped = 0;
	pid_t pid;
	int rc;

	if (sched_setscheduler(0, SCHED_FIFO, &fifo) || sched_setscheduler(0, SCHED_OTHER, &other)) {
		fprintf(stderr, "SKIPPED: no real time for this user: %s\n", strerror(errno));
		return TEST_SKIPPED;
	}
	pid = fork_bound();
	if (!pid)
		for (;;)
			pause();
	sleep_ms(20);
	sigprocmask(SIG_SETMASK, NULL, &before);
	rc = cycle_start(pid, 5000, &p, &r, &e);
	check(!rc, "start: %s", e.text);
	if (rc)
		return check_end();
	check(locked_kib() > 0, "the tool's memory is not locked");
	for (unsigned i = 0; i < STOPS; i++)
		stopped += klp_remote_interrupt(&r, pid, nothing, NULL, &e) == 1;
	check(stopped == STOPS, "%u of %u stops", stopped, STOPS);
	check(windows >= STOPS, "only %u windows were seen", windows);
	check(policy() == SCHED_OTHER, "scheduling policy %d afterwards", policy());
	sigprocmask(SIG_SETMASK, NULL, &after);
	for (int sig = 1; sig < NSIG; sig++)
		check(sigismember(&before, sig) == sigismember(&after, sig),
		      "signal %d: the mask is another one afterwards", sig);
	klp_remote_stop(&r, &e);
	klp_remote_remove(&r, 1000, &e);
	klp_process_close(&p);
	finish(pid);
	return check_end();
}
