/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that lives from before a listing until behind it is in the list, whatever ends beside it. The kernel's own
 * listing skips some; it is made beside klp's until it has done so often enough for the test to say anything.
 */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "klp/process.h"

#define SKIPPED_ENOUGH 10u
#define SECONDS 60
#define SHORT_LIVED 4

static struct witness {
	unsigned life; /* odd: it lives, and is no other one until this changes */
	pid_t tid;
} * seen;

static void *short_lived(void *arg)
{
	for (volatile long i = 0; i < 2000 * ((long)arg * 5 + 1); i++)
		;
	return arg;
}

static void *witness(void *arg)
{
	seen->tid = (pid_t)syscall(SYS_gettid);
	__atomic_add_fetch(&seen->life, 1, __ATOMIC_SEQ_CST);
	usleep(3000);
	__atomic_add_fetch(&seen->life, 1, __ATOMIC_SEQ_CST);
	return arg;
}

static void program(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		pthread_t t[SHORT_LIVED + 1];

		for (long i = 0; i < SHORT_LIVED; i++)
			if (pthread_create(&t[i], NULL, short_lived, (void *)i))
				_exit(1);
		if (pthread_create(&t[SHORT_LIVED], NULL, witness, NULL))
			_exit(1);
		for (int i = 0; i <= SHORT_LIVED; i++)
			pthread_join(t[i], NULL);
	}
}

static bool kernel_lists(pid_t pid, pid_t tid)
{
	const struct dirent *d;
	bool found = false;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir)))
		found |= atoi(d->d_name) == tid;
	if (dir)
		closedir(dir);
	return found;
}

static bool klp_lists(pid_t pid, pid_t tid)
{
	struct klp_process p = {.pid = pid};
	struct klp_error e = KLP_ERROR_INIT;
	bool found = false;
	pid_t *tids;
	size_t n;

	if (klp_process_tids(&p, &tids, &n, &e)) {
		fprintf(stderr, "no list: %s\n", e.text);
		exit(1);
	}
	while (n-- > 0)
		found |= tids[n] == tid;
	free(tids);
	return found;
}

/* Judges a listing beside which there was one witness all the time. */
static void look(bool (*lists)(pid_t pid, pid_t tid), pid_t pid, unsigned long *judged, unsigned long *skipped)
{
	unsigned life = __atomic_load_n(&seen->life, __ATOMIC_SEQ_CST);
	pid_t tid = seen->tid;
	bool found = lists(pid, tid);

	if (!(life & 1) || life != __atomic_load_n(&seen->life, __ATOMIC_SEQ_CST))
		return;
	++*judged;
	*skipped += !found;
}

int main(void)
{
	unsigned long judged[2] = {0, 0}, skipped[2] = {0, 0};
	time_t end;
	pid_t pid;

	seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (seen == MAP_FAILED)
		return 1;
	pid = fork();
	if (!pid)
		program();
	end = time(NULL) + SECONDS;
	while (skipped[0] < SKIPPED_ENOUGH && time(NULL) < end)
		for (unsigned i = 0; i < 1000; i++) {
			look(kernel_lists, pid, &judged[0], &skipped[0]);
			look(klp_lists, pid, &judged[1], &skipped[1]);
		}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	printf("a thread that lived was skipped by %lu of %lu listings of the kernel's, %lu of %lu of klp's\n",
	       skipped[0], judged[0], skipped[1], judged[1]);
	if (!judged[1])
		return 1;
	if (skipped[0] < SKIPPED_ENOUGH)
		fprintf(stderr, "the kernel's own listings skipped too few for this run to say much\n");
	return skipped[1] != 0;
}
