/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/tracer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* With the thread-local copies of the proofs; all of it is in memory before anybody is stopped. */
#ifdef __SANITIZE_THREAD__
/* Its own thread-local data takes a megabyte, and it cannot tell the child from a fork's. */
#define KLP_TRACER_STACK (2u << 20)
#define KLP_TRACER_BY_ITSELF
#else
#define KLP_TRACER_STACK (320u << 10)
#endif
#define KLP_TRACER_CHILD_STACK (192u << 10)
#define KLP_TRACER_POLL_NS 5000
/* A caller that serves may have real time, and so has the tracer beside it: on two processors the rest must get to run.
 */
#define KLP_TRACER_SERVE_NS 100000

struct klp_tracer {
	int (*fn)(void *arg);
	void *arg;
	struct klp_error *e;
	sigset_t signals; /* as the caller had them */
	pid_t tid;
	pid_t tool; /* whose child traces, or has this thread; 0: there is no child */
	uint8_t *child_stack;
	bool done;
	int rc;
};

/* In a child: the tool. Its threads have the same; 0 in the tool. */
static _Thread_local pid_t klp_tracer_tool;

bool klp_tracer_is_orphan(void)
{
	return klp_tracer_tool && getppid() != klp_tracer_tool;
}

static void klp_tracer_go(struct klp_tracer *t)
{
	klp_tracer_tool = t->tool;
	t->rc = t->fn(t->arg);
	t->done = true;
	klp_tracer_tool = 0; /* its thread-local data is that of the tracing thread */
}

#ifndef KLP_TRACER_BY_ITSELF
static int klp_tracer_child(void *ctx)
{
	prctl(PR_SET_NAME, "klp-tracer");
	klp_tracer_go(ctx);
	_exit(0);
}

/* Yama may let a process trace its descendants only (Documentation/admin-guide/LSM/Yama.rst): the target is one of the
 * tool's perhaps, and never one of the tool's child. */
static bool klp_tracer_must_be_ancestor(void)
{
	char scope = '0';
	int fd = geteuid() ? open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC) : -1;
	bool known = fd < 0 || read(fd, &scope, 1) == 1;

	if (fd >= 0)
		close(fd);
	return !known || scope != '0';
}

/* false: there is no such child. Otherwise it has ended, and with it its hold of what it traced: the kernel lets go of
 * that before anybody can wait for the child (exit_notify()), but after it lets us out of clone() (exit_mm()). */
static bool klp_tracer_apart(struct klp_tracer *t)
{
	pid_t pid = -1;

	t->tool = getpid();
	if (!klp_tracer_must_be_ancestor())
		pid = clone(klp_tracer_child, t->child_stack, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_VFORK, t);
	if (pid < 0) {
		t->tool = 0;
		return false;
	}
	while (waitpid(pid, NULL, __WALL | __WNOTHREAD) < 0 && errno == EINTR)
		;
	if (!t->done)
		t->rc = klp_fail(t->e, EINTR, KLP_INTERNAL, "what traced for this tool was killed");
	return true;
}
#else
static bool klp_tracer_apart(struct klp_tracer *t)
{
	(void)t;
	return false;
}
#endif

static void *klp_tracer_thread(void *ctx)
{
	struct klp_tracer *t = ctx;

	t->tid = (pid_t)syscall(SYS_gettid);
	pthread_sigmask(SIG_SETMASK, &t->signals, NULL);
	if (t->tool || !klp_tracer_apart(t))
		klp_tracer_go(t);
	return NULL;
}

int klp_tracer_run(int (*fn)(void *arg), void *arg, struct klp_error *e)
{
	return klp_tracer_run_beside(fn, arg, NULL, NULL, e);
}

int klp_tracer_run_beside(int (*fn)(void *arg), void *arg, void (*serve)(void *ctx), void *ctx, struct klp_error *e)
{
	struct klp_tracer t = {.fn = fn, .arg = arg, .e = e, .tool = klp_tracer_tool};
	const struct timespec poll = {0, KLP_TRACER_POLL_NS}, pause = {0, KLP_TRACER_SERVE_NS};
	pthread_attr_t attr;
	sigset_t all;
	pthread_t thread;
	const size_t size = KLP_TRACER_CHILD_STACK + KLP_TRACER_STACK;
	uint8_t *stack;
	int rc;

	stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_POPULATE, -1, 0);
	if (stack == MAP_FAILED)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the tracing thread's stack");
	mlock(stack, size); /* not permitted to everybody */
	t.child_stack = stack + KLP_TRACER_CHILD_STACK;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &t.signals);
	rc = pthread_attr_init(&attr);
	if (!rc) {
		rc = pthread_attr_setstack(&attr, t.child_stack, KLP_TRACER_STACK);
		if (!rc)
			rc = pthread_create(&thread, &attr, klp_tracer_thread, &t);
		pthread_attr_destroy(&attr);
	}
	if (rc) {
		rc = klp_fail(e, rc, KLP_NOMEM, "no thread to trace with: %s", strerror(rc));
	} else {
		while (serve && pthread_tryjoin_np(thread, NULL) == EBUSY) {
			serve(ctx);
			nanosleep(&pause, NULL);
		}
		if (!serve)
			pthread_join(thread, NULL);
		/* The C library is told of its end before the kernel lets go of what it traced. */
		while (!syscall(SYS_tgkill, getpid(), t.tid, 0))
			nanosleep(&poll, NULL);
		rc = t.rc;
	}
	pthread_sigmask(SIG_SETMASK, &t.signals, NULL);
	munmap(stack, size);
	return rc;
}
