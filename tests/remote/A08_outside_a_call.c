/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A8: a thread that stands still in user code is in no system call, whatever is in the register that the number of a
 * call would be in: on riscv64 /proc/PID/task/TID/syscall tells of it all the same.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

#define LOOKS 200u

static volatile int sink;

static pid_t spinner(void)
{
	pid_t pid = fork_bound();

	if (pid)
		return pid;
	if (getppid() < 0) /* its number stays where it was */
		_exit(1);
	for (;;)
		sink++;
}

int main(void)
{
	struct klp_error e = KLP_ERROR_INIT;
	unsigned stood = 0, calls = 0;
	struct klp_process p;
	pid_t pid = spinner();

	sleep_ms(50);
	if (klp_process_open(pid, &p, &e)) {
		check(false, "%s", e.text);
		return check_end();
	}
	for (unsigned i = 0; i < LOOKS; i++) {
		struct klp_task_syscall s;
		int status;

		kill(pid, SIGSTOP);
		waitpid(pid, &status, WUNTRACED);
		check(!klp_task_syscall(&p, pid, &s, &e), "its system call: %s", e.text);
		stood += !s.running;
		calls += !s.running && s.nr >= 0;
		kill(pid, SIGCONT);
		usleep(100);
	}
	printf("%u looks, %u found it standing still\n", LOOKS, stood);
	check(stood, "it was always running");
	check(!calls, "%u of %u times it was in a call", calls, stood);
	klp_process_close(&p);
	finish(pid);
	return check_end();
}
