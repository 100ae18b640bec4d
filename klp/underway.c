/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/underway.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KLP_UNDERWAY_RUN_NS 1000000u

/* The time on a processor, of schedstat. false: the kernel does not count it, or the thread has gone. */
static bool klp_underway_ran(const struct klp_process *p, pid_t tid, uint64_t *ns)
{
	char path[80], text[96];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", p->pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		return false;
	text[len] = 0;
	*ns = strtoull(text, NULL, 10);
	return true;
}

bool klp_underway_may_be(const struct klp_task_syscall *s)
{
	return s->running || s->nr < 0 || s->nr == SYS_mmap || s->nr == SYS_munmap || s->nr == SYS_membarrier ||
	       s->nr == SYS_clone || s->nr == SYS_rt_sigreturn;
}

static bool klp_underway_waits(const struct klp_process *p, pid_t tid)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_syscall s;

	return !klp_task_syscall(p, tid, &s, &ignored) && !klp_underway_may_be(&s);
}

int klp_underway_begin(const struct klp_process *p, struct klp_underway *u, struct klp_error *e)
{
	pid_t *tid = NULL;
	size_t n = 0;
	int rc = klp_process_tids(p, &tid, &n, e);

	*u = (struct klp_underway){.p = p};
	if (rc)
		return rc;
	u->thread = calloc(n ? n : 1, sizeof(*u->thread));
	if (!u->thread) {
		free(tid);
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for %zu threads", n);
	}
	u->count = n;
	for (size_t i = 0; i < n; i++) {
		u->thread[i].tid = tid[i];
		/* Without the count only the caller's patience settles it. */
		u->thread[i].settled = !klp_underway_ran(p, tid[i], &u->thread[i].ran_ns);
	}
	free(tid);
	return 0;
}

pid_t klp_underway_look(struct klp_underway *u)
{
	pid_t left = 0;

	for (size_t i = 0; i < u->count; i++) {
		struct klp_underway_thread *t = &u->thread[i];
		uint64_t ns;

		if (!t->settled)
			t->settled = klp_underway_waits(u->p, t->tid) || !klp_underway_ran(u->p, t->tid, &ns) ||
				     ns - t->ran_ns >= KLP_UNDERWAY_RUN_NS;
		if (!t->settled)
			left = t->tid;
	}
	return left;
}

void klp_underway_end(struct klp_underway *u)
{
	free(u->thread);
	*u = (struct klp_underway){0};
}

int klp_underway_fail(const struct klp_process *p, pid_t tid, struct klp_error *e)
{
	return klp_fail(
	    e, EBUSY, KLP_BUSY,
	    "thread %d of process %d gets no processor, and may be on its way to unmap what a killed tool left", tid,
	    p->pid);
}
