/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/tracer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* With the thread-local copies of the proofs; all of it is in memory before anybody is stopped. */
#ifdef __SANITIZE_THREAD__ /* whose own thread-local data takes a megabyte of it */
#define KLP_TRACER_STACK (2u << 20)
#else
#define KLP_TRACER_STACK (320u << 10)
#endif
#define KLP_TRACER_POLL_NS 5000
/* A caller that serves may have real time, and so has the tracer beside it: on two processors the rest must get to run.
 */
#define KLP_TRACER_SERVE_NS 100000

struct klp_tracer {
	int (*fn)(void *arg);
	void *arg;
	sigset_t signals; /* as the caller had them */
	pid_t tid;
	int rc;
};

static void *klp_tracer_thread(void *ctx)
{
	struct klp_tracer *t = ctx;

	t->tid = (pid_t)syscall(SYS_gettid);
	pthread_sigmask(SIG_SETMASK, &t->signals, NULL);
	t->rc = t->fn(t->arg);
	return NULL;
}

int klp_tracer_run(int (*fn)(void *arg), void *arg, struct klp_error *e)
{
	return klp_tracer_run_beside(fn, arg, NULL, NULL, e);
}

int klp_tracer_run_beside(int (*fn)(void *arg), void *arg, void (*serve)(void *ctx), void *ctx, struct klp_error *e)
{
	struct klp_tracer t = {.fn = fn, .arg = arg};
	const struct timespec poll = {0, KLP_TRACER_POLL_NS}, pause = {0, KLP_TRACER_SERVE_NS};
	pthread_attr_t attr;
	sigset_t all;
	pthread_t thread;
	void *stack;
	int rc;

	stack = mmap(NULL, KLP_TRACER_STACK, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_POPULATE, -1, 0);
	if (stack == MAP_FAILED)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the tracing thread's stack");
	mlock(stack, KLP_TRACER_STACK); /* not permitted to everybody */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &t.signals);
	rc = pthread_attr_init(&attr);
	if (!rc) {
		rc = pthread_attr_setstack(&attr, stack, KLP_TRACER_STACK);
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
	munmap(stack, KLP_TRACER_STACK);
	return rc;
}
