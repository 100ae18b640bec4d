/* SPDX-License-Identifier: Apache-2.0 */
/* klp inside the target: when the core is looked for, made and taken out. See klp/remote.h. */
#include "klp/remote.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "klp/core.h"
#include "klp/guard.h"
#include "klp/helper.h"
#include "klp/settle.h"
#include "klp/stop.h"

int klp_remote_find(struct klp_process *p, struct klp_remote *r, struct klp_error *e)
{
	bool again = false;

	memset(r, 0, sizeof(*r));
	r->p = p;
	for (size_t i = 0; i < p->map_count; i++) {
		int rc;

		if (!klp_core_is(p, i))
			continue;
		r->image = p->map[i].start;
		r->cb = p->map[i].end;
		rc = klp_core_check(p, r, e);
		if (rc < 0 && e->reason == KLP_TARGET_MEMORY && !again) {
			/* It may have gone between the list and the look: a killed tool's last munmap. */
			again = true;
			rc = klp_process_refresh(p, e);
			if (rc)
				return rc;
			r->image = r->cb = 0;
			i = (size_t)-1;
			continue;
		}
		if (!rc && r->removing) {
			rc = klp_settle_removal(p, r, e);
			if (rc > 0) {
				r->image = r->cb = 0;
				return klp_process_refresh(p, e);
			}
		}
		if (rc <= 0) {
			if (rc < 0)
				r->image = r->cb = 0;
			return rc;
		}
		r->image = r->cb = 0;
	}
	return 0;
}

static int klp_removing_set(struct klp_remote *r, uint32_t removing, struct klp_error *e)
{
	int rc =
	    klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, removing)), &removing, sizeof(removing), e);

	if (!rc)
		r->removing = removing != 0;
	return rc;
}

int klp_remote_start(struct klp_remote *r, unsigned wait_ms, struct klp_error *e)
{
	bool fresh;
	int rc;

	prctl(PR_SET_TIMERSLACK, 1000); /* short waits are short */
	mlockall(MCL_CURRENT);          /* stop windows take no page fault; not permitted to everybody */
	if (r->image && r->removing) {  /* nobody is under way any more (klp_remote_find) */
		rc = klp_removing_set(r, 0, e);
		if (rc)
			return rc;
	}
	if (r->image && r->helper && !klp_remote_ping(r, e))
		return 0;
	rc = klp_settle_chains(r->p, e);
	if (rc > 0) { /* what was found may have come or gone meanwhile */
		struct klp_remote again;

		rc = klp_process_refresh(r->p, e);
		if (!rc)
			rc = klp_remote_find(r->p, &again, e);
		if (rc)
			return rc;
		again.threads_stopped = r->threads_stopped;
		again.longest_stop_ns = r->longest_stop_ns;
		again.early_returns = r->early_returns;
		again.priv = r->priv;
		*r = again;
	}
	if (rc < 0)
		return rc;
	fresh = r->image == 0;
	if (fresh) {
		rc = klp_core_make(r, wait_ms, e);
		if (rc)
			return rc;
	} else if (r->adopted) {
		rc = klp_core_adopt(r, e);
		if (rc)
			return rc;
	}
	rc = klp_helper_start(r, wait_ms, e);
	if (!rc)
		rc = klp_core_claim(r, e);
	if (rc && fresh && r->image) { /* a limit, for example: what was just made for it goes again */
		struct klp_error ignored = KLP_ERROR_INIT;

		klp_remote_remove(r, wait_ms, &ignored);
	}
	return rc;
}

int klp_remote_remove(struct klp_remote *r, unsigned wait_ms, struct klp_error *e)
{
	uint64_t at;
	int rc;

	if (!r->image)
		return 0;
	rc = klp_remote_stop(r, e);

	if (!rc)
		rc = klp_settle_core(r, e);
	if (!rc && r->helper)
		rc = klp_fail(e, EBUSY, KLP_BUSY, "the helper in process %d is at work", r->p->pid);
	if (!rc)
		rc = klp_settle_chains(r->p, e);
	if (rc >= 0)
		rc = klp_process_refresh(r->p, e);
	if (!rc && !klp_process_mapping(r->p, r->image)) { /* a killed tool's thread did it */
		r->image = r->cb = 0;
		return 0;
	}
	if (!rc)
		rc = klp_removing_set(r, 1, e);
	if (rc)
		return rc;
	rc = klp_core_unmap(r, r->image, wait_ms, e);
	if (rc) {
		struct klp_error ignored = KLP_ERROR_INIT;

		if (e->reason == KLP_NO_BORROW && e->err == EAGAIN) /* nobody was sent */
			klp_removing_set(r, 0, &ignored);
		return rc;
	}
	r->image = r->cb = 0;
	/* And what tools left that were killed before they wrote anything there. */
	while (!rc) {
		rc = klp_core_unfinished_find(r->p, &at, e);
		if (rc || !at)
			break;
		rc = klp_core_unmap(r, at, wait_ms, e);
	}
	return rc;
}

struct klp_look {
	struct klp_remote *r;
	pid_t tid;
	klp_look_fn look;
	void *ctx;
	struct klp_error *e;
};

static int klp_look_stopped(void *arg)
{
	const struct klp_look *l = arg;
	struct klp_unw_regs regs = {0};
	struct klp_stop st;
	int rc = klp_stop_begin(l->r, l->tid, &st, l->e);

	if (rc <= 0)
		return rc;
	klp_registers_for_unwind(&st.regs, &regs);
	l->look(l->ctx, l->tid, &regs, klp_registers_thread_pointer(&st.regs));
	klp_stop_end(&st);
	return 1;
}

int klp_remote_interrupt(struct klp_remote *r, pid_t tid, klp_look_fn look, void *ctx, struct klp_error *e)
{
	struct klp_look l = {r, tid, look, ctx, e};

	return klp_guard_run(r->p, tid, klp_look_stopped, &l, e);
}
