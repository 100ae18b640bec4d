/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/escort.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klp/clock.h"
#include "klp/core.h"
#include "klp/realtime.h"

#ifndef PTRACE_O_SUSPEND_SECCOMP
#define PTRACE_O_SUSPEND_SECCOMP (1 << 21)
#endif
#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif
#define KLP_REST_NS 1000000000ull /* the helper may wait for a processor */
#define KLP_POLL_NS 5000ull
#define KLP_SPIN 50u

struct klp_escort {
	struct klp_remote *r;
	int (*fn)(struct klp_remote *r, void *arg, struct klp_error *e);
	void *arg;
	bool brief;
	struct klp_error *e;
	pid_t tid;
	int rc;
};

int klp_escort_seize(struct klp_remote *r)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_info info;

	if (!r->escorting || !r->helper || r->escorted == r->helper)
		return r->escorting && r->helper ? 0 : -ESRCH;
	r->escorted = 0;
	r->suspended = !klp_task_status(r->p, r->helper, &info, &ignored) && !info.seccomp &&
		       !ptrace(PTRACE_SEIZE, r->helper, NULL, (void *)(uintptr_t)PTRACE_O_SUSPEND_SECCOMP);
	if (!r->suspended && ptrace(PTRACE_SEIZE, r->helper, NULL, NULL))
		return -errno;
	r->escorted = r->helper;
	return 0;
}

/* It has every signal blocked, so its stops are those of the tracer, of the process (SIGSTOP), and of a signal that a
 * fault or a filter forces on it, which it gets. Who has ended is reaped: its process would wait for that. */
void klp_escort_serve(struct klp_remote *r)
{
	int status, sig;

	if (!r->escorted || waitpid(r->escorted, &status, __WALL | WNOHANG) != r->escorted)
		return;
	if (!WIFSTOPPED(status)) {
		r->escorted = 0;
		return;
	}
	sig = WSTOPSIG(status);
	if (status >> 16 != PTRACE_EVENT_STOP)
		ptrace(PTRACE_CONT, r->escorted, NULL, (void *)(uintptr_t)sig);
	else if (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU)
		ptrace(PTRACE_LISTEN, r->escorted, NULL, NULL);
	else
		ptrace(PTRACE_CONT, r->escorted, NULL, NULL);
}

void klp_escort_interrupt(struct klp_remote *r)
{
	if (r->escorted)
		ptrace(PTRACE_INTERRUPT, r->escorted, NULL, NULL);
}

/* Asleep or parked it makes one call, and where it sleeps it has made that. A stop that is on its way wakes it. */
static bool klp_escort_rests(const struct klp_remote *r)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_info info;
	uint8_t asleep = 0;
	uint32_t parked = 0;

	if (klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, asleep)), &asleep, 1, &ignored) ||
	    klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, parked)), &parked, 4, &ignored))
		return true;
	return (asleep || parked) && (klp_task_status(r->p, r->escorted, &info, &ignored) || info.state == 'S');
}

static void klp_escort_rest(struct klp_remote *r)
{
	const uint64_t until = klp_clock_now() + KLP_REST_NS;

	for (unsigned n = 0; r->escorted; n++) {
		klp_escort_serve(r);
		if (!r->escorted || !r->suspended || klp_escort_rests(r) || klp_clock_now() > until)
			break;
		if (n > KLP_SPIN)
			klp_clock_pause(KLP_POLL_NS);
	}
}

static void *klp_escort_thread(void *ctx)
{
	struct klp_escort *t = ctx;
	struct klp_realtime own, helpers = {.policy = -1, .tid = -1};

	t->tid = (pid_t)syscall(SYS_gettid);
	t->r->escorting = true;
	klp_escort_seize(t->r);
	if (t->r->escorted)
		klp_realtime_settle(t->r->escorted);
	if (t->brief && t->r->escorted) {
		klp_realtime_begin(&own, 0); /* to the end of this thread */
		klp_realtime_begin(&helpers, t->r->escorted);
	}
	t->rc = t->fn(t->r, t->arg, t->e);
	klp_escort_rest(t->r);
	/* The tid is its own as long as it was not waited for. */
	if (t->r->escorted == helpers.tid)
		klp_realtime_end(&helpers);
	t->r->escorting = false;
	t->r->escorted = 0;
	return NULL;
}

int klp_escort_run(struct klp_remote *r, bool brief, int (*fn)(struct klp_remote *r, void *arg, struct klp_error *e),
		   void *arg, struct klp_error *e)
{
	static const int job_control[] = {SIGTSTP, SIGTTIN, SIGTTOU};
	struct klp_escort t = {.r = r, .fn = fn, .arg = arg, .brief = brief, .e = e};
	sigset_t all, stops, signals;
	pthread_t thread;
	int rc;

	if (r->escorting)
		return fn(r, arg, e);
	sigfillset(&all);
	sigemptyset(&stops);
	for (size_t i = 0; i < sizeof(job_control) / sizeof(*job_control); i++)
		sigaddset(&stops, job_control[i]);
	pthread_sigmask(SIG_BLOCK, &all, &signals);
	rc = pthread_create(&thread, NULL, klp_escort_thread, &t);
	pthread_sigmask(SIG_SETMASK, &signals, NULL);
	if (rc)
		return klp_fail(e, rc, KLP_NOMEM, "no thread to trace with: %s", strerror(rc));
	pthread_sigmask(SIG_BLOCK, &stops, NULL);
	pthread_join(thread, NULL);
	/* The C library is told of its end before the kernel lets go of what it traced. Not by sched_yield, which gives
	 * the processor away for a whole slice of each who only runs. */
	while (!syscall(SYS_tgkill, getpid(), t.tid, 0))
		klp_clock_pause(KLP_POLL_NS);
	pthread_sigmask(SIG_SETMASK, &signals, NULL);
	return t.rc;
}
