/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P04, P06 and W^X: during cycles no mapping is ever writable and executable, all others keep their protection, and the
 * parent, which waits for stops and continues too, sees none of its child. P37: threads that only sleep are left alone
 * or borrowed between two sleeps.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

#define SLEEP_MS 2000u

static atomic_uint *sleeps, *late;
static _Atomic uint64_t *machine; /* how late anybody was on this machine */
static volatile sig_atomic_t child_signals;

static void on_child(int sig)
{
	(void)sig;
	child_signals++;
}

static void *sleeper(void *arg)
{
	(void)arg;
	for (;;) {
		struct timespec t = {SLEEP_MS / 1000, 0};
		uint64_t began = now_ns(), took;

		if (nanosleep(&t, NULL))
			atomic_fetch_add(late, 1);
		took = now_ns() - began;
		if (took < SLEEP_MS * 1000000ull || took > (SLEEP_MS + 200) * 1000000ull + atomic_load(machine))
			atomic_fetch_add(late, 1);
		atomic_fetch_add(sleeps, 1);
	}
	return NULL;
}

static void watched(struct tool_result *r)
{
	unsigned count = rounds(50, 300), reads = 0, wx = 0, seen = 0;
	int fds[2], status;
	char *before, *after;
	siginfo_t info;
	pid_t pid, tool;

	if (pipe(fds))
		exit(1);
	signal(SIGCHLD, on_child);
	pid = fork_bound();
	if (!pid) {
		char c;

		while (read(fds[0], &c, 1) == 1)
			;
		_exit(1);
	}
	sleep_ms(20);
	before = maps_text(pid);
	tool = tool_spawn(pid, count, 5000, false, r);
	for (;;) {
		char *text = maps_text(pid), *line, *save = NULL;

		reads++;
		for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
			wx += strstr(line, " rwx") != NULL || strstr(line, " -wx") != NULL;
		free(text);
		info.si_pid = 0;
		if (!waitid(P_PID, (id_t)pid, &info, WSTOPPED | WCONTINUED | WEXITED | WNOHANG) && info.si_pid)
			seen++;
		if (waitpid(tool, &status, WNOHANG) == tool)
			break;
	}
	info.si_pid = 0;
	if (!waitid(P_PID, (id_t)pid, &info, WSTOPPED | WCONTINUED | WEXITED | WNOHANG) && info.si_pid)
		seen++;
	check(!r->rc && r->cycles == count, "cycle %u: %s %s", r->cycles, klp_reason_name(r->error.reason),
	      r->error.text);
	check(!wx, "%u lines of %u looks were writable and executable", wx, reads);
	check(!seen, "the parent saw %u changes of its child", seen);
	check(child_signals == 1, "%d SIGCHLD, of which the tool's end is one", (int)child_signals);
	after = maps_text(pid);
	check(!strcmp(before, after), "mappings before:\n%s\nafter:\n%s", before, after);
	printf("%u cycles under %u looks\n", r->cycles, reads);
	free(before);
	free(after);
	signal(SIGCHLD, SIG_DFL);
	finish(pid);
}

static void sleeping(struct tool_result *r)
{
	pid_t pid = fork_bound();
	uint64_t began;

	if (!pid) {
		pthread_t t;

		for (unsigned i = 0; i < 3; i++)
			pthread_create(&t, NULL, sleeper, NULL);
		sleeper(NULL);
	}
	sleep_ms(100);
	for (unsigned i = 0; i < rounds(4, 30); i++) {
		began = now_ns();
		tool_cycles(pid, 1, 700, true, r);
		check(!r->rc, "sleepers: %s %s", klp_reason_name(r->error.reason), r->error.text);
		check(now_ns() - began < 5000000000ull, "sleepers: the tool took %lu ms", (now_ns() - began) / 1000000);
	}
	sleep_ms(SLEEP_MS + 300);
	check(!*late, "%u of %u sleeps were early or late", *late, *sleeps);
	check(*sleeps >= 4, "only %u sleeps", *sleeps);
	printf("sleepers: %u sleeps\n", *sleeps);
	finish(pid);
}

int main(void)
{
	struct tool_result *r = shared(sizeof(*r));

	sleeps = shared(4096);
	late = sleeps + 1;
	machine = shared(sizeof(*machine));
	watch_machine(machine);
	watched(r);
	sleeping(r);
	return check_end();
}
