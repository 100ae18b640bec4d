/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P16: a thread that waits for its vfork child cannot be stopped, and cannot be detached before it has stopped. It is
 * given up in bounded time, and then nobody traces it and nothing of the request is left: it never stands still.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "klp/stop.h"
#include "klp/tracer.h"

#define CHILD_MS 4000u
#define PATIENCE_MS 3000u

static atomic_uint *back; /* the vfork call has returned */

/* vfork itself: -1 on the stack's other side may be anything, so the child does nothing but sleep and leave. */
static void parent(void)
{
	struct timespec t = {CHILD_MS / 1000, 0};
	pid_t child = vfork();

	if (!child) {
		nanosleep(&t, NULL);
		_exit(0);
	}
	atomic_store(back, 1);
	for (;;)
		pause();
}

static int stop(void *arg)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_remote *r = arg;
	struct klp_stop st;
	int rc = klp_stop_begin(r, r->p->pid, &st, &e);

	if (rc > 0)
		klp_stop_end(&st);
	check(rc >= 0, "%s", e.text);
	return rc;
}

int main(void)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_process p;
	struct klp_remote r = {.p = &p};
	uint64_t began;
	pid_t pid;
	int rc;

	back = shared(sizeof(*back));
	pid = fork_bound();
	if (!pid)
		parent();
	sleep_ms(100);
	if (klp_process_open(pid, &p, &e)) {
		check(false, "%s", e.text);
		return check_end();
	}
	began = now_ns();
	rc = klp_tracer_run(stop, &r, &e);
	check(now_ns() - began < PATIENCE_MS * 1000000ull, "the tool waited for %lu ms",
	      (unsigned long)((now_ns() - began) / 1000000));
	check(!rc, "it was stopped: %d", rc);
	check(!atomic_load(back), "the child was faster: nothing was shown");
	check(!status_hex(pid, pid, "TracerPid"), "it is still traced");
	for (began = now_ns(); !atomic_load(back) && now_ns() - began < 2 * CHILD_MS * 1000000ull;)
		sleep_ms(1);
	check(atomic_load(back), "vfork did not return");
	if (!atomic_load(back))
		tell_threads(pid);
	/* Now it can be stopped. */
	sleep_ms(20);
	check(klp_tracer_run(stop, &r, &e) == 1, "it cannot be stopped afterwards");
	klp_process_close(&p);
	finish(pid);
	return check_end();
}
