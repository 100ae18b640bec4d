/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P11: a tool is killed when it has just sent a thread to unmap klp's core, before it has blocked that thread's
 * signals, and the thread gets no processor for a while. The next tool does not use the core before the thread has done
 * what it was sent for: it would vanish under it, and what is mapped by then would be left.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

#define ROUNDS 5u
#define HOG_MS 500u /* below 950 ms of a second, at which the kernel takes real time away */

struct stage {
	atomic_uint armed, hog, hogging;
	pid_t tool;
};

static struct stage *stage;

long __real_ptrace(int request, ...);
long __wrap_ptrace(int request, ...);

/* The registers are set; the mask would be next. */
long __wrap_ptrace(int request, ...)
{
	va_list ap;
	pid_t pid;
	void *addr, *data;

	va_start(ap, request);
	pid = va_arg(ap, pid_t);
	addr = va_arg(ap, void *);
	data = va_arg(ap, void *);
	va_end(ap);
	if (request == PTRACE_SETSIGMASK && atomic_load(&stage->armed)) {
		atomic_store(&stage->hog, 1);
		while (!atomic_load(&stage->hogging))
			;
		kill(stage->tool, SIGKILL);
		kill(getpid(), SIGKILL);
	}
	return __real_ptrace(request, pid, addr, data);
}

static void run_on(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	check(!sched_setaffinity(0, sizeof(set), &set), "processor %u: %s", cpu, strerror(errno));
}

/* Takes the target's processor away while it is told to. */
static pid_t hog(unsigned cpu)
{
	const struct sched_param param = {.sched_priority = 50};
	pid_t pid = fork_bound();

	if (pid)
		return pid;
	run_on(cpu);
	if (sched_setscheduler(0, SCHED_FIFO, &param))
		_exit(TEST_SKIPPED);
	for (;;) {
		uint64_t until;

		while (!atomic_load(&stage->hog))
			usleep(100);
		until = now_ns() + HOG_MS * 1000000ull;
		atomic_store(&stage->hogging, 1);
		while (now_ns() < until)
			;
		atomic_store(&stage->hogging, 0);
		atomic_store(&stage->hog, 0);
	}
}

static pid_t killed_tool(pid_t target, unsigned cpu)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_process p;
	struct klp_remote r;
	pid_t pid = fork_bound();

	if (pid)
		return pid;
	run_on(cpu);
	stage->tool = getpid();
	if (cycle_start(target, 5000, &p, &r, &e))
		_exit(1);
	if (klp_remote_stop(&r, &e))
		_exit(2);
	atomic_store(&stage->armed, 1);
	klp_remote_remove(&r, 5000, &e);
	_exit(3);
}

int main(void)
{
	cpu_set_t set;
	unsigned cpu[2], n = 0;
	pid_t target, other;

	if (geteuid() || sched_getaffinity(0, sizeof(set), &set))
		return TEST_SKIPPED;
	for (unsigned i = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET(i, &set))
			cpu[n++] = i;
	if (n < 2) {
		printf("SKIPPED: two processors are needed\n");
		return TEST_SKIPPED;
	}
	stage = shared(sizeof(*stage));
	target = fork_bound();
	if (!target) {
		run_on(cpu[1]);
		for (;;)
			pause();
	}
	other = hog(cpu[1]);
	run_on(cpu[0]);
	sleep_ms(50);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct klp_error e = KLP_ERROR_INIT;
		struct klp_process p;
		struct klp_remote r;
		char *before = maps_text(target), *after;
		pid_t tool = killed_tool(target, cpu[0]);
		int status, rc;

		waitpid(tool, &status, 0);
		atomic_store(&stage->armed, 0);
		check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "round %u: the tool was to be killed: %x", i,
		      (unsigned)status);
		rc = cycle_start(target, 5000, &p, &r, &e);
		if (!rc) {
			sleep_ms(HOG_MS / 5);
			rc = klp_remote_ping(&r, &e);
			if (!rc)
				rc = klp_remote_stop(&r, &e);
			if (!rc)
				rc = klp_remote_remove(&r, 5000, &e);
			klp_process_close(&p);
		}
		check(!rc, "round %u: %s %s", i, klp_reason_name(e.reason), e.text);
		check(!waitpid(target, &status, WNOHANG), "round %u: the target ended with status %x", i,
		      (unsigned)status);
		after = maps_text(target);
		check(!strcmp(before, after), "round %u: mappings before:\n%s\nafter:\n%s", i, before, after);
		free(before);
		free(after);
		if (rc)
			break;
		while (atomic_load(&stage->hog))
			sleep_ms(1);
	}
	finish(other);
	finish(target);
	return check_end();
}
