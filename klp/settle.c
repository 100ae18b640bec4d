/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/settle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "klp/clock.h"
#include "klp/core.h"
#include "klp/helper.h"
#include "klp/underway.h"

#define KLP_POLL_NS 20000ull
#define KLP_SETTLE_NS 3000000000ull /* a helper that hears nothing leaves after 2 s */
#define KLP_HELPER_NS 5000000000ull /* its first sign of life; it may wait for a processor */
#define KLP_CHAIN_NS 500000000ull
#define KLP_SETTLE_START_NS 50000000ull  /* a borrowed thread's first instructions */
#define KLP_SETTLE_QUIET_NS 100000000ull /* a thread between two stores of its tracer that was killed */

/* Every signal is blocked as long as they are in klp's code: the kernel's own word for it. */
int klp_settle_core(struct klp_remote *r, struct klp_error *e)
{
	uint64_t began = klp_clock_now(), passed;
	struct klp_task_info info;
	struct klp_rt_callback visit;
	struct klp_rt_borrow b;
	uint32_t helper;
	int32_t result;
	bool busy;
	int rc;

	for (;;) {
		pid_t tid;

		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, borrow)), &b, sizeof(b), e);
		if (!rc)
			rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, borrow_result)), &result, 4,
					      e);
		if (!rc)
			rc =
			    klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, helper_tid)), &helper, 4, e);
		if (rc)
			return rc;
		if (helper && (r->helper = klp_helper_find(r->p, helper)))
			return 0;
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, callback)), &visit, sizeof(visit),
				      e);
		if (rc)
			return rc;
		passed = klp_clock_now() - began;
		busy = false;
		tid = klp_task_by_ns_tid(r->p, b.reserved[0], &info);
		/* A thread that runs a callback has been at home before. */
		if (tid && !(visit.state && visit.tid == b.reserved[0]) &&
		    ((info.sig_blocked == KLP_ALL_BLOCKED && (b.old_mask & KLP_ALL_BLOCKED) != KLP_ALL_BLOCKED) ||
		     (!result && passed < KLP_SETTLE_START_NS)))
			busy = true;
		tid = result > 0 ? klp_task_by_ns_tid(r->p, (uint64_t)result, &info) : 0;
		if (tid && info.sig_blocked == KLP_ALL_BLOCKED &&
		    (!strcmp(info.comm, "klp-helper") || passed < KLP_HELPER_NS))
			busy = true;
		if (!busy)
			return 0;
		if (passed > KLP_SETTLE_NS)
			return klp_fail(e, ETIMEDOUT, KLP_HELPER, "a thread of process %d does not leave klp's code",
					r->p->pid);
		klp_clock_pause(KLP_POLL_NS);
	}
}

/* It has every signal blocked; a thread of the program that has too and never waits costs KLP_CHAIN_NS. */
int klp_settle_chains(struct klp_process *p, struct klp_error *e)
{
	uint64_t began = klp_clock_now();
	int waited = 0;
	bool busy;

	if (p->survey.done && !p->survey.all_blocked)
		return 0;
	do {
		pid_t *tid = NULL;
		size_t n = 0;
		int rc = klp_process_tids(p, &tid, &n, e);

		if (rc)
			return rc;
		busy = false;
		for (size_t i = 0; i < n && !busy; i++) {
			struct klp_error ignored = KLP_ERROR_INIT;
			struct klp_task_syscall s;
			struct klp_task_info info;

			busy = !klp_task_status(p, tid[i], &info, &ignored) && info.sig_blocked == KLP_ALL_BLOCKED &&
			       !klp_task_info(p, tid[i], &info, &ignored) && info.state != 'Z' && info.state != 'X' &&
			       !klp_task_is_kernel_made(&info) && strcmp(info.comm, "klp-helper") &&
			       !klp_task_syscall(p, tid[i], &s, &ignored) && klp_underway_may_be(&s);
		}
		free(tid);
		if (busy) {
			waited = 1;
			klp_clock_pause(KLP_POLL_NS);
		}
	} while (busy && klp_clock_now() - began < KLP_CHAIN_NS);
	return waited;
}

/* A thread that is in klp's code, or on a chain of klp's frames: nobody else blocks the C library's own signals for
 * long. */
static bool klp_somebody_borrowed(const struct klp_process *p)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_info info;
	pid_t *tid = NULL;
	bool found = false;
	size_t n = 0;

	if (klp_process_tids(p, &tid, &n, &ignored))
		return false;
	for (size_t i = 0; i < n && !found; i++)
		found = !klp_task_status(p, tid[i], &info, &ignored) && info.sig_blocked == KLP_ALL_BLOCKED &&
			strcmp(info.comm, "klp-helper");
	free(tid);
	return found;
}

int klp_settle_removal(struct klp_process *p, const struct klp_remote *r, struct klp_error *e)
{
	uint64_t now = klp_clock_now(), quiet = now, end = now + KLP_SETTLE_NS;
	struct klp_underway u;
	pid_t left = 0;
	int rc = klp_underway_begin(p, &u, e);

	if (rc)
		return rc;
	while (!rc && now < end && (left || now - quiet < KLP_SETTLE_QUIET_NS)) {
		struct klp_error ignored = KLP_ERROR_INIT;
		char probe;

		if (klp_process_read(p, r->cb, &probe, 1, &ignored))
			rc = 1;
		left = klp_underway_look(&u);
		if (klp_somebody_borrowed(p))
			quiet = klp_clock_now();
		klp_clock_pause(KLP_POLL_NS);
		now = klp_clock_now();
	}
	if (!rc && left)
		rc = klp_underway_fail(p, left, e);
	klp_underway_end(&u);
	return rc;
}
