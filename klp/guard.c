/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "klp/callclass.h"
#include "klp/stop.h"
#include "klp/tracer.h"

#define KLP_SETTLE_NS 20000000ull /* a borrowed thread is at home by then, and a signal taken */
#define KLP_SETTLE_POLL_NS 20000

struct klp_guarded {
	pid_t tid;
	struct klp_task_syscall before;
};

struct klp_guard {
	const struct klp_process *p;
	pid_t tid; /* who will be stopped */
	int (*fn)(void *arg);
	void *arg;
	struct klp_guarded *list;
	size_t count;
	uint64_t pending; /* signals to the process that nobody takes */
	struct klp_error *e;
};

int klp_guard_signals_come_to(const struct klp_process *p, pid_t tid)
{
	char path[80], c;
	ssize_t got;
	int fd;

	if (tid == p->pid)
		return 1;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", p->pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	got = read(fd, &c, 1);
	close(fd);
	return got < 0 ? -1 : got > 0;
}

/* Threads that a signal would harm, or that may be about to begin such a call. */
static int klp_guard_list(struct klp_guard *g)
{
	pid_t *tid = NULL;
	size_t n = 0;
	int rc = klp_process_tids(g->p, &tid, &n, g->e);

	if (!rc) {
		g->list = calloc(n ? n : 1, sizeof(*g->list));
		if (!g->list)
			rc = klp_fail(g->e, ENOMEM, KLP_NOMEM, "no memory for %zu threads", n);
	}
	for (size_t i = 0; i < n && !rc; i++) {
		struct klp_error ignored = KLP_ERROR_INIT;
		struct klp_guarded *t = &g->list[g->count];

		if (tid[i] == g->tid || klp_task_syscall(g->p, tid[i], &t->before, &ignored))
			continue;
		t->tid = tid[i];
		g->count +=
		    t->before.running || (t->before.nr >= 0 && klp_call_eintr_restarts(t->before.nr, t->before.arg));
	}
	free(tid);
	return rc;
}

/* One of the guarded threads has stopped by itself. */
static void klp_guard_pass(const struct klp_guard *g, pid_t tid, int status)
{
	const struct klp_task_syscall *before = NULL;
	int signal = status >> 16 ? 0 : WSTOPSIG(status);
	struct klp_registers regs;

	if (status >> 16 && WSTOPSIG(status) != SIGTRAP) {
		ptrace(PTRACE_LISTEN, tid, NULL, NULL); /* stopped by job control, as it is to be */
		return;
	}
	for (size_t i = 0; i < g->count; i++)
		if (g->list[i].tid == tid)
			before = &g->list[i].before;
	if (klp_registers_get(g->p, tid, before, &regs))
		klp_stop_mend(g->p, tid, signal, &regs);
	ptrace(PTRACE_CONT, tid, NULL, (void *)(long)signal);
}

static void klp_guard_serve(void *ctx)
{
	const struct klp_guard *g = ctx;
	int status;
	pid_t got;

	while ((got = waitpid(-1, &status, __WALL | __WNOTHREAD | WNOHANG)) > 0)
		if (WIFSTOPPED(status))
			klp_guard_pass(g, got, status);
}

/*
 * The thread has been let go. It may not be at home yet, its signals blocked; and somebody who was woken for a signal
 * may be on the way to it. A signal that is not pending any more has been taken, and who took it has stopped: both
 * happen under the lock that the status file is read under.
 */
static void klp_guard_settle(struct klp_guard *g)
{
	const struct timespec pause = {0, KLP_SETTLE_POLL_NS};
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_info info;

	for (uint64_t n = 0; n < KLP_SETTLE_NS / KLP_SETTLE_POLL_NS; n++) {
		bool gone = klp_task_status(g->p, g->tid, &info, &ignored) != 0;

		klp_guard_serve(g);
		if (gone || (info.sig_blocked != KLP_ALL_BLOCKED && !(info.shd_pending & ~g->pending)))
			return;
		nanosleep(&pause, NULL);
	}
}

static int klp_guard_thread(void *arg)
{
	struct klp_guard *g = arg;
	int rc;

	for (size_t i = 0; i < g->count; i++)
		ptrace(PTRACE_SEIZE, g->list[i].tid, NULL, NULL); /* one that has ended needs no guard */
	rc = klp_tracer_run_beside(g->fn, g->arg, klp_guard_serve, g, g->e);
	klp_guard_settle(g);
	return rc;
}

int klp_guard_run(const struct klp_process *p, pid_t tid, int (*fn)(void *arg), void *arg, struct klp_error *e)
{
	struct klp_guard g = {.p = p, .tid = tid, .fn = fn, .arg = arg, .e = e};
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_info info;
	int rc = 0;

	if (klp_guard_signals_come_to(p, tid))
		rc = klp_guard_list(&g);
	if (!rc && g.count) {
		/* If it has ended, fn finds nobody to stop. */
		g.pending = klp_task_status(p, tid, &info, &ignored) ? 0 : info.shd_pending;
		rc = klp_tracer_run(klp_guard_thread, &g, e);
	} else if (!rc) {
		rc = klp_tracer_run(fn, arg, e);
	}
	free(g.list);
	return rc;
}
