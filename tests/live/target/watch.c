/* SPDX-License-Identifier: Apache-2.0 */
/* watch FILE PROGRAM...: runs the program as its child and appends one line to FILE for everything that a parent can
 * see of it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t chld;

static void on_chld(int sig)
{
	(void)sig;
	chld++;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_chld};
	FILE *f = argc > 2 ? fopen(argv[1], "a") : NULL;
	int status, seen = 0;
	pid_t pid;

	if (!f || sigaction(SIGCHLD, &sa, NULL))
		return 2;
	pid = fork();
	if (!pid) {
		execv(argv[2], argv + 2);
		_exit(127);
	}
	fprintf(f, "child %d\n", pid);
	fflush(f);
	for (;;) {
		pid_t rc = waitpid(pid, &status, WUNTRACED | WCONTINUED);

		if (chld != seen) {
			seen = (int)chld;
			fprintf(f, "SIGCHLD %d\n", seen);
		}
		if (rc < 0 && errno == EINTR) {
			fprintf(f, "EINTR\n");
		} else if (rc == pid) {
			fprintf(f, "%s %d\n",
				WIFSTOPPED(status)     ? "stopped"
				: WIFCONTINUED(status) ? "continued"
						       : "ended",
				status);
			if (WIFEXITED(status) || WIFSIGNALED(status)) {
				fclose(f);
				return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
			}
		} else {
			return 3;
		}
		fflush(f);
	}
}
