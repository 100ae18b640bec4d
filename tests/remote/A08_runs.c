/* SPDX-License-Identifier: Apache-2.0 */
/* A8: whether a thread has run is told by what the kernel counts, from schedstat and, without it, from its status. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

#define LOOKS 200u

/* A process that answers each byte, and waits for the next one. */
static pid_t echo(int to[2], int from[2])
{
	pid_t pid;
	char c;

	if (pipe(to) || pipe(from))
		exit(1);
	pid = fork_bound();
	if (pid)
		return pid;
	while (read(to[0], &c, 1) == 1)
		if (write(from[1], &c, 1) != 1)
			break;
	_exit(0);
}

static void wait_blocked(const struct klp_process *p, pid_t tid)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_task_syscall s;

	do {
		usleep(100);
		if (klp_task_syscall(p, tid, &s, &e)) {
			check(false, "its system call: %s", e.text);
			return;
		}
	} while (s.running || s.nr != SYS_read);
}

static void runs(const struct klp_process *p, pid_t tid, int to, int from, bool from_status)
{
	const char *source = from_status ? "status" : "schedstat";
	unsigned count = rounds(300, 20000), unseen = 0, false_alarms = 0;

	for (unsigned i = 0; i < count; i++) {
		struct klp_task_runs r;
		char c = 'x';
		int rc = klp_task_runs_open(p, tid, from_status, &r);

		if (rc) {
			check(false, "%s: error %d", source, rc);
			return;
		}
		for (unsigned k = 0; k < (i ? 2 : LOOKS); k++)
			false_alarms += klp_task_runs_same(&r) != 1;
		/* As short a run as there is: one byte in, one out. */
		if (write(to, &c, 1) != 1 || read(from, &c, 1) != 1)
			check(false, "no answer");
		wait_blocked(p, tid);
		unseen += klp_task_runs_same(&r) != 0;
		klp_task_runs_close(&r);
	}
	check(!unseen, "%s: %u of %u runs were not seen", source, unseen, count);
	check(!false_alarms, "%s: %u times a run was seen that was not", source, false_alarms);
}

int main(void)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_task_runs gone;
	struct klp_process p;
	int to[2], from[2];
	pid_t pid = echo(to, from);

	if (klp_process_open(pid, &p, &e)) {
		check(false, "%s", e.text);
		return check_end();
	}
	wait_blocked(&p, pid);
	runs(&p, pid, to[1], from[0], false);
	runs(&p, pid, to[1], from[0], true);
	finish(pid);
	check(klp_task_runs_open(&p, pid, false, &gone) < 0, "a thread that is gone was opened");
	klp_process_close(&p);
	return check_end();
}
