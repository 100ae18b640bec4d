/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills a command, with SIGKILL, at the entry of its n-th system call, those of all its threads and children counted
 * together: whatever a tool does to another process it does by system calls, so there is no other place to die in. Its
 * children live on: what traces for klpctl is one, and ends what it has begun (klp/tracer.h).
 *
 * usage: kill_at_call N COMMAND [ARG...]
 * Exit status 0: it was killed there, and "CALL-NUMBER" is printed; 1: it had ended before, and the number of calls
 * that it made is printed; 2: it could not be run.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_TASKS 256
#define SYSCALL_STOP (SIGTRAP | 0x80)
static struct task {
	pid_t tid;
	bool inside; /* it has entered a call */
} task[MAX_TASKS];
static unsigned tasks;

static struct task *find(pid_t tid)
{
	for (unsigned i = 0; i < tasks; i++)
		if (task[i].tid == tid)
			return &task[i];
	if (tasks == MAX_TASKS) {
		fprintf(stderr, "kill_at_call: more than %u tasks\n", MAX_TASKS);
		exit(2);
	}
	task[tasks] = (struct task){.tid = tid};
	return &task[tasks++];
}

static void forget(pid_t tid)
{
	*find(tid) = task[tasks - 1];
	tasks--;
}

int main(int argc, char **argv)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			     PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	unsigned long at = argc > 2 ? strtoul(argv[1], NULL, 10) : 0, calls = 0;
	bool killed = false;
	int status;
	pid_t first, tid;

	if (!at) {
		fprintf(stderr, "usage: kill_at_call N COMMAND [ARG...]\n");
		return 2;
	}
	first = fork();
	if (!first) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(2);
		raise(SIGSTOP);
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	if (first < 0 || waitpid(first, &status, 0) != first || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SETOPTIONS, first, NULL, (void *)options) || ptrace(PTRACE_SYSCALL, first, NULL, NULL)) {
		perror("kill_at_call");
		return 2;
	}
	while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		long signal = 0;

		if (tid < 0)
			continue;
		if (!WIFSTOPPED(status)) {
			forget(tid);
			if (tid == first && WIFEXITED(status) && WEXITSTATUS(status) == 127)
				return 2;
			continue;
		}
		if (WSTOPSIG(status) == SYSCALL_STOP) {
			struct task *t = find(tid);

			t->inside = !t->inside;
			calls += t->inside && !killed;
			if (calls == at && !killed) {
				killed = true;
				kill(first, SIGKILL);
			}
		} else if (!(status >> 16) && WSTOPSIG(status) != SIGSTOP) { /* that one begins a new task */
			signal = WSTOPSIG(status);
		}
		ptrace(killed ? PTRACE_CONT : PTRACE_SYSCALL, tid, NULL, (void *)signal);
	}
	printf("%lu\n", calls);
	return killed ? 0 : 1;
}
