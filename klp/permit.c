/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/permit.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klp/clock.h"
#include "klp/core.h"
#include "klp/tracer.h"
#include "klp/wake.h"

#define KLP_POLL_NS 20000ull
#define KLP_PERMIT_NS 5000000000ull

struct klp_permit {
	struct klp_remote *r;
	enum klp_seccomp_calls set;
	struct klp_error *e;
	bool busy;    /* it executes a request, of a tool that was killed */
	bool leaves;  /* it was told to */
	bool parks;   /* or to wait for ever ... */
	bool in_loop; /* ... without a call */
};

/* In its stop, so it does not see half of it. What a killed tool has asked of a helper that sleeps is not begun: that
 * is replaced. */
static int klp_permit_end(struct klp_permit *k)
{
	struct klp_rt_op op = {.code = KLP_OP_EXIT};
	struct klp_error ignored = KLP_ERROR_INIT;
	const struct klp_remote *r = k->r;
	uint32_t parked, one = 1;
	uint8_t request, done, asleep;
	int rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, request)), &request, 1, &ignored);

	if (!rc)
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, done)), &done, 1, &ignored);
	if (!rc)
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, asleep)), &asleep, 1, &ignored);
	if (!rc)
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, parked)), &parked, 4, &ignored);
	if (rc || parked)
		return rc;
	k->busy = request != done && !asleep;
	if (k->busy)
		return 0;
	k->leaves = !klp_seccomp_check(r->helper, KLP_SECCOMP_EXIT, &ignored);
	if (!k->leaves) {
		k->parks = true;
		op.code = KLP_OP_PARK;
		op.a[0] = ~0ull;
		k->in_loop = !klp_seccomp_waits(r->helper, klp_cb_at(r, offsetof(struct klp_rt_cb, nothing)), op.a);
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, parked)), &one, 4, &ignored);
	}
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, ops)), &op, sizeof(op), &ignored);
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, op_count)), &one, 4, &ignored);
	done++;
	return rc ? rc : klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, request)), &done, 1, &ignored);
}

/* On a thread that ends, as all tracing. */
static int klp_permit_stopped(void *arg)
{
	struct klp_permit *k = arg;
	int rc = klp_wake_stop(k->r->helper, k->e);

	if (rc)
		return rc;
	rc = klp_seccomp_check(k->r->helper, k->set, k->e);
	if (rc && k->set == KLP_SECCOMP_ALL)
		klp_permit_end(k);
	ptrace(PTRACE_DETACH, k->r->helper, NULL, NULL);
	return rc;
}

/* Until it has heard it. */
static void klp_permit_ended(const struct klp_permit *k)
{
	const struct sched_param none = {0};
	uint64_t until = klp_clock_now() + KLP_PERMIT_NS;
	struct klp_remote *r = k->r;
	uint8_t request = 0, done = 1;
	char path[64];

	if (k->in_loop)
		sched_setscheduler(r->helper, SCHED_IDLE, &none);
	snprintf(path, sizeof(path), "/proc/%d/task/%d", r->p->pid, r->helper);
	while ((k->leaves ? !access(path, F_OK) : request != done) && klp_clock_now() < until) {
		struct klp_error ignored = KLP_ERROR_INIT;

		klp_clock_pause(KLP_POLL_NS);
		if (klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, request)), &request, 1, &ignored) ||
		    klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, done)), &done, 1, &ignored))
			break;
	}
	if (k->leaves)
		r->helper = 0;
}

int klp_permit(struct klp_remote *r, struct klp_error *e)
{
	struct klp_permit k = {.r = r, .set = KLP_SECCOMP_ALL, .e = e};
	uint64_t until = klp_clock_now() + KLP_PERMIT_NS;
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_info info;
	int rc;

	if (!r->helper)
		return 0;
	/* One that is gone is found to be so by whoever waits for it. A kernel that does not tell their number has them
	 * evaluated each time. */
	if (klp_task_status(r->p, r->helper, &info, &ignored) || !info.seccomp)
		return 0;
	if (r->permitted == r->helper && info.seccomp_filters && info.seccomp_filters == r->permitted_filters)
		return 0;
	do {
		k.busy = false;
		rc = klp_tracer_run(klp_permit_stopped, &k, e);
		if (k.busy)
			klp_clock_pause(KLP_POLL_NS);
	} while (k.busy && klp_clock_now() < until);
	if (k.leaves || k.parks)
		klp_permit_ended(&k);
	/* The number of before: a filter that has come since is another one. */
	r->permitted = rc ? 0 : r->helper;
	r->permitted_filters = info.seccomp_filters;
	return rc;
}

bool klp_permit_holds(const struct klp_remote *r)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_info info;

	return !r->helper || klp_task_status(r->p, r->helper, &info, &ignored) || !info.seccomp ||
	       (r->permitted == r->helper && r->permitted_filters == info.seccomp_filters);
}

int klp_permit_calls(struct klp_remote *r, enum klp_seccomp_calls set, struct klp_error *e)
{
	struct klp_permit k = {.r = r, .set = set, .e = e};
	struct klp_task_info info;
	int rc = klp_task_status(r->p, r->helper, &info, e);

	return rc || !info.seccomp ? rc : klp_tracer_run(klp_permit_stopped, &k, e);
}
