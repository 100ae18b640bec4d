/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/sharing.h"

#include <ctype.h>
#include <dirent.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "klp/callclass.h"
#include "klp/clock.h"

#define KLP_SHARING_LOOKS 50u
#define KLP_SHARING_SURE 5u /* looks through which a thread waits that accounts for a process */
#define KLP_SHARING_LOOK_NS 1000000ull

static bool klp_same_memory(const struct klp_process *p, pid_t other)
{
	return syscall(SYS_kcmp, p->live_tid, other, KCMP_VM, 0, 0) == 0;
}

pid_t klp_process_shares_memory(const struct klp_process *p)
{
	char path[64], line[256];
	int parent = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", p->pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f) && sscanf(line, "PPid: %d", &parent) != 1)
		;
	fclose(f);
	/* 0: its parent is in another pid namespace */
	if (parent <= 0 || !klp_same_memory(p, parent))
		return 0;
	return parent;
}

/* A thread that waits for a child that lives in the same memory: the last that it made; 0: the kernel does not say. */
struct klp_waiter {
	pid_t pid, tid, child;
	char runs[KLP_RUNS_TEXT];
};

struct klp_sharing {
	pid_t *pid;
	struct klp_waiter *waiter;
	size_t count, waiters;
};

/* The other processes in the memory of p; false if there was no memory for all of them. */
static bool klp_sharing_list(const struct klp_process *p, struct klp_sharing *s)
{
	bool all = true;
	DIR *d = opendir("/proc");
	const struct dirent *entry;

	while (d && all && (entry = readdir(d))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10), *grown;

		if (!isdigit((unsigned char)entry->d_name[0]) || pid == p->pid || !klp_same_memory(p, pid))
			continue;
		grown = realloc(s->pid, (s->count + 1) * sizeof(*grown));
		all = grown != NULL;
		if (all) {
			s->pid = grown;
			s->pid[s->count++] = pid;
		}
	}
	if (d)
		closedir(d);
	return all && d;
}

/*
 * The last child that this thread made (proc(5): /proc/PID/task/TID/children, in the order of their births); 0: the
 * kernel does not say (CONFIG_PROC_CHILDREN). False: it has none, it has only begun the call.
 */
static bool klp_last_child(pid_t pid, pid_t tid, pid_t *last)
{
	char path[64];
	FILE *f;

	*last = 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return access("/proc/thread-self/children", F_OK) != 0;
	while (fscanf(f, "%d", last) == 1)
		;
	fclose(f);
	return *last != 0;
}

/* How often it has run is read first: it waits then, and has done so since if the answer is the same later. */
static bool klp_waits(const struct klp_process *p, struct klp_waiter *w)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_process q = *p;
	struct klp_task_syscall s;
	struct klp_task_runs runs;

	q.pid = w->pid;
	if (klp_task_runs_open(&q, w->tid, false, &runs) && klp_task_runs_open(&q, w->tid, true, &runs))
		return false;
	memcpy(w->runs, runs.text, sizeof(w->runs));
	klp_task_runs_close(&runs);
	/* One that is just being made shows its maker's call, and has never run. */
	return strpbrk(w->runs, "123456789") && !klp_task_syscall(&q, w->tid, &s, &ignored) && !s.running &&
	       klp_call_makes_tasks(s.nr) && klp_last_child(w->pid, w->tid, &w->child);
}

/* Of one process: those that wait now. */
static void klp_waiters_list(const struct klp_process *p, pid_t pid, struct klp_sharing *s)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_process q = *p;
	pid_t *tid = NULL;
	size_t n = 0;

	q.pid = pid;
	if (klp_process_tids(&q, &tid, &n, &ignored))
		return;
	for (size_t i = 0; i < n; i++) {
		struct klp_waiter w = {.pid = pid, .tid = tid[i]}, *grown;

		if (!klp_waits(p, &w))
			continue;
		grown = realloc(s->waiter, (s->waiters + 1) * sizeof(*grown));
		if (!grown)
			break;
		s->waiter = grown;
		s->waiter[s->waiters++] = w;
	}
	free(tid);
}

static bool klp_sharing_has(const struct klp_sharing *s, pid_t pid)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->pid[i] == pid)
			return true;
	return false;
}

/* Of s only the processes that are in `now` too, and the waiters that have waited in one call since they were seen. */
static void klp_sharing_keep(const struct klp_process *p, struct klp_sharing *s, const struct klp_sharing *now)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->count; i++)
		if (klp_sharing_has(now, s->pid[i]))
			s->pid[kept++] = s->pid[i];
	s->count = kept;
	kept = 0;
	for (size_t i = 0; i < s->waiters; i++) {
		struct klp_waiter w = s->waiter[i];

		if (klp_waits(p, &w) && !strcmp(w.runs, s->waiter[i].runs))
			s->waiter[kept++] = w;
	}
	s->waiters = kept;
}

/* One that no waiter accounts for: each accounts for the child that it made last, or for any one if that is not known.
 */
static pid_t klp_sharing_stranger(const struct klp_sharing *s)
{
	size_t any = 0;

	for (size_t i = 0; i < s->waiters; i++)
		any += s->waiter[i].child == 0;
	for (size_t i = 0; i < s->count; i++) {
		bool waited = false;

		for (size_t k = 0; k < s->waiters; k++)
			waited |= s->waiter[k].child == s->pid[i];
		if (!waited && any-- == 0)
			return s->pid[i];
	}
	return 0;
}

/*
 * A process that nobody waits for is in every list; children of vfork come and go, and one that stays has a thread that
 * waits in one call all the while, from before the first list that counts to behind the last. Who waits is asked for
 * its child, for a thread also stands in the call before there is one (the kernel's locks): it accounts for nobody
 * then.
 */
pid_t klp_process_shared_with(const struct klp_process *p)
{
	struct klp_sharing before = {0}, same = {0};
	pid_t found = 0;

	if (!klp_sharing_list(p, &before))
		found = before.count ? before.pid[0] : p->pid;
	if (before.count) {
		klp_waiters_list(p, p->pid, &same);
		for (size_t i = 0; i < before.count; i++)
			klp_waiters_list(p, before.pid[i], &same);
		if (!klp_sharing_list(p, &same))
			found = before.pid[0];
	}
	for (unsigned n = 0;
	     n < KLP_SHARING_LOOKS && ((n < KLP_SHARING_SURE && same.count) || klp_sharing_stranger(&same)); n++) {
		struct klp_sharing now = {0};

		klp_clock_sleep(KLP_SHARING_LOOK_NS);
		if (klp_sharing_list(p, &now))
			klp_sharing_keep(p, &same, &now);
		free(now.pid);
	}
	if (!found)
		found = klp_sharing_stranger(&same);
	free(before.pid);
	free(same.pid);
	free(same.waiter);
	return found;
}
