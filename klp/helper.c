/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/helper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "klp/borrow.h"
#include "klp/clock.h"
#include "klp/core.h"
#include "klp/settle.h"

#define KLP_HELPER_NS 5000000000ull /* its first sign of life; it may wait for a processor */
#define KLP_POLL_NS 20000ull

int klp_remote_visits(const struct klp_remote *r, uint32_t ns_tid, uint64_t old_mask)
{
	struct klp_task_info info;

	if (!klp_task_by_ns_tid(r->p, ns_tid, &info))
		return -1;
	return info.sig_blocked == KLP_ALL_BLOCKED && (old_mask & KLP_ALL_BLOCKED) != KLP_ALL_BLOCKED;
}

pid_t klp_helper_find(const struct klp_process *p, uint32_t ns_tid)
{
	struct klp_task_info info;
	pid_t tid = klp_task_by_ns_tid(p, ns_tid, &info);

	return tid && !strcmp(info.comm, "klp-helper") ? tid : 0;
}

int klp_helper_start(struct klp_remote *r, unsigned wait_ms, struct klp_error *e)
{
	struct klp_borrowed who;
	uint64_t until;
	int32_t result = 0;
	uint32_t helper = 0;
	int rc;

	r->helper = 0;
	rc = klp_settle_core(r, e);
	if (rc || r->helper)
		return rc;
	rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, borrow_result)), &result, 4, e);
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, helper_tid)), &helper, 4, e);
	if (!rc)
		rc = klp_borrow_helper(r, wait_ms, &who, e);
	if (rc)
		return rc;
	until = klp_clock_now() + KLP_HELPER_NS;
	for (;;) {
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, borrow_result)), &result, 4, e);
		if (!rc)
			rc =
			    klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, helper_tid)), &helper, 4, e);
		if (rc)
			return rc;
		if (result < 0)
			return klp_fail(e, -result, KLP_NO_ROOM,
					"clone in process %d failed: %s (RLIMIT_NPROC, pids cgroup?)", r->p->pid,
					strerror(-result));
		r->helper = helper ? klp_helper_find(r->p, helper) : 0;
		if (r->helper)
			return 0;
		if (klp_clock_now() > until)
			return klp_fail(e, ETIMEDOUT, KLP_HELPER, "the helper in process %d does not answer",
					r->p->pid);
		klp_clock_pause(KLP_POLL_NS);
	}
}

int klp_remote_stop(struct klp_remote *r, struct klp_error *e)
{
	struct klp_rt_op op = {.code = KLP_OP_EXIT};
	uint64_t until;
	char path[64];
	int rc;

	if (!r->helper)
		return 0;
	rc = klp_remote_run(r, &op, 1, e);
	if (rc && e->reason != KLP_HELPER)
		return rc;
	until = klp_clock_now() + KLP_HELPER_NS;
	snprintf(path, sizeof(path), "/proc/%d/task/%d", r->p->pid, r->helper);
	while (r->helper && !access(path, F_OK)) {
		if (klp_clock_now() > until)
			return klp_fail(e, ETIMEDOUT, KLP_HELPER, "the helper in process %d does not leave", r->p->pid);
		klp_clock_pause(KLP_POLL_NS);
	}
	r->helper = 0;
	return 0;
}
