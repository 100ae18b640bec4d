/* SPDX-License-Identifier: Apache-2.0 */
/* P11: kill -9 of the tool at any instant: the target lives, no thread keeps blocked signals, it answers, and the next
 * tool leaves it as it was. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <poll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

static int ask[2], answer[2];
static atomic_uint *wrong;

static void *waiter(void *arg)
{
	int fd = *(int *)arg;
	char c;

	for (;;)
		if (read(fd, &c, 1) != 1)
			atomic_fetch_add(wrong, 1);
	return NULL;
}

static void target_run(unsigned threads)
{
	static int quiet[2];
	char c;

	if (pipe(quiet))
		_exit(1);
	for (unsigned i = 1; i < threads; i++) {
		pthread_t t;

		pthread_create(&t, NULL, waiter, &quiet[0]);
	}
	for (;;) {
		ssize_t n = read(ask[0], &c, 1);

		if (n != 1)
			atomic_fetch_add(wrong, 1);
		else if (write(answer[1], &c, 1) != 1)
			_exit(1);
	}
}

static bool answers(void)
{
	struct pollfd f = {.fd = answer[0], .events = POLLIN};
	char c = 'q';

	return write(ask[1], &c, 1) == 1 && poll(&f, 1, 3000) == 1 && read(answer[0], &c, 1) == 1;
}

/* A killed tool's thread finishes what it began; then no thread of the program blocks anything. */
static bool masks_clean(pid_t pid)
{
	uint64_t until = now_ns() + 3000000000ull;

	for (;;) {
		char path[64], name[32] = "";
		bool clean = true;
		struct dirent *d;
		DIR *dir;

		snprintf(path, sizeof(path), "/proc/%d/task", pid);
		dir = opendir(path);
		if (!dir)
			return false;
		while ((d = readdir(dir))) {
			char file[320];
			FILE *f;

			if (d->d_name[0] == '.')
				continue;
			snprintf(file, sizeof(file), "/proc/%d/task/%s/comm", pid, d->d_name);
			f = fopen(file, "re");
			if (f) {
				if (!fgets(name, sizeof(name), f))
					name[0] = 0;
				fclose(f);
			}
			if (strcmp(name, "klp-helper\n") && status_hex(pid, (pid_t)atoi(d->d_name), "\nSigBlk:"))
				clean = false;
		}
		closedir(dir);
		if (clean || now_ns() > until)
			return clean;
		sleep_ms(1);
	}
}

static void campaign(unsigned threads, unsigned count)
{
	struct tool_result *r = shared(sizeof(*r));
	unsigned finished = 0;
	char *before, *after;
	pid_t pid;
	int status;

	if (pipe(ask) || pipe(answer))
		exit(1);
	pid = fork_bound();
	if (!pid) {
		target_run(threads);
		_exit(1);
	}
	sleep_ms(50);
	before = maps_text(pid);
	for (unsigned i = 0; i < count; i++) {
		struct timespec t = {0, (long)((unsigned)random() % (i % 3 ? 3000 : 9000)) * 1000};
		pid_t tool = tool_spawn(pid, 1, 3000, false, r);

		nanosleep(&t, NULL);
		kill(tool, SIGKILL);
		waitpid(tool, &status, 0);
		finished += WIFEXITED(status);
		check(!WIFEXITED(status) || !r->rc, "round %u: %s %s", i, klp_reason_name(r->error.reason),
		      r->error.text);
		if (waitpid(pid, &status, WNOHANG)) {
			check(false, "round %u: the target ended with status %x", i, (unsigned)status);
			return;
		}
		/* Half of the rounds the next tool follows at once, over what the killed one left running. */
		if (i & 1) {
			check(answers(), "round %u: no answer", i);
			check(masks_clean(pid), "round %u: a thread keeps its signals blocked", i);
		}
		if (i % 10 == 9) {
			tool_cycles(pid, 1, 5000, false, r);
			check(!r->rc, "round %u, the next tool: %s %s", i, klp_reason_name(r->error.reason),
			      r->error.text);
		}
	}
	tool_cycles(pid, 1, 5000, false, r);
	check(!r->rc, "the last tool: %s %s", klp_reason_name(r->error.reason), r->error.text);
	check(answers(), "no answer at the end");
	check(masks_clean(pid), "a thread keeps its signals blocked at the end");
	after = maps_text(pid);
	check(!strcmp(before, after), "mappings before:\n%s\nafter:\n%s", before, after);
	check(thread_count(pid) == threads, "%u threads instead of %u", thread_count(pid), threads);
	check(!*wrong, "%u reads ended early", *wrong);
	printf("%u threads: %u kills, %u tools had finished before\n", threads, count, finished);
	free(before);
	free(after);
	finish(pid);
}

int main(void)
{
	wrong = shared(sizeof(*wrong));
	srandom((unsigned)getpid());
	campaign(1, rounds(150, 1000));
	campaign(8, rounds(150, 1000));
	return check_end();
}
