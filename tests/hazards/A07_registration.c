/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard A7: registering for the core sync takes milliseconds in a process with several threads, so no thread of the
 * program ever does it: only the helper. All the while a tool works on a fresh process every thread's system call is
 * looked at.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/remote/common.h"

#define THREADS 6u
#define ROUNDS 10u

static atomic_uint *ready;

static void *waiter(void *arg)
{
	int fd[2];
	char c;

	(void)arg;
	if (pipe(fd))
		_exit(1);
	atomic_fetch_add(ready, 1);
	while (read(fd[0], &c, 1) < 0)
		;
	return NULL;
}

static void target(void)
{
	pthread_t t;

	for (unsigned i = 1; i < THREADS; i++)
		if (pthread_create(&t, NULL, waiter, NULL))
			_exit(1);
	waiter(NULL);
}

int main(void)
{
	struct tool_result *r = shared(sizeof(*r));
	unsigned long looks = 0, seen = 0;

	ready = shared(sizeof(*ready));
	for (unsigned round = 0; round < ROUNDS; round++) {
		int fd[THREADS], status;
		char path[300];
		unsigned n = 0;
		pid_t pid, tool;
		DIR *d;

		atomic_store(ready, 0);
		pid = fork_bound();
		if (!pid) {
			target();
			_exit(1);
		}
		while (atomic_load(ready) != THREADS)
			sleep_ms(1);
		sleep_ms(10);
		snprintf(path, sizeof(path), "/proc/%d/task", pid);
		d = opendir(path);
		for (struct dirent *e; d && (e = readdir(d));) {
			if (e->d_name[0] == '.' || n == THREADS)
				continue;
			snprintf(path, sizeof(path), "/proc/%d/task/%s/syscall", pid, e->d_name);
			fd[n] = open(path, O_RDONLY | O_CLOEXEC);
			check(fd[n] >= 0, "%s: not open", path);
			n++;
		}
		if (d)
			closedir(d);
		check(n == THREADS, "%u threads instead of %u", n, THREADS);
		tool = tool_spawn(pid, 1, 5000, false, r);
		while (waitpid(tool, &status, WNOHANG) == 0) {
			for (unsigned i = 0; i < n; i++) {
				char text[256] = "";
				ssize_t len = pread(fd[i], text, sizeof(text) - 1, 0);

				looks += len > 0;
				seen += len > 0 && strtol(text, NULL, 0) == SYS_membarrier && text[0] != 'r';
			}
		}
		check(WIFEXITED(status) && !WEXITSTATUS(status), "the tool: %s %s", klp_reason_name(r->error.reason),
		      r->error.text);
		while (n--)
			close(fd[n]);
		finish(pid);
	}
	check(looks > 1000, "only %lu looks: nothing was tried", looks);
	check(!seen, "%lu of %lu looks found a thread of the program in membarrier", seen, looks);
	printf("%lu looks\n", looks);
	return check_end();
}
