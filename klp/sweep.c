/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/sweep.h"

#include <errno.h>
#include <string.h>

#include "klp/clock.h"
#include "klp/look.h"
#include "klp/transition.h"

#define KLP_SWEEP_BATCH 64u /* entries read at once: few enough that counts are young at the proof */
/* In haste: a look that found the thread changed ended near the beginning of its next sleep. */
#define KLP_SWEEP_LOOKS 4u

/* Stores the verdict of a proof at once, not with those of the others (klp_sweep_verify, which believes it or not): the
 * thread applies it at its next entry, which may come before those are through. */
static int klp_sweep_verdict(struct klp_run *run, const struct klp_mover *m, struct klp_error *e)
{
	struct klp_session *s = run->s;
	uint64_t verdict = KLP_VERDICT(KLP_TR_GENERATION(s->cb->transition), m->entry.count);

	return klp_process_write(&s->p, klp_thread_addr(s, m->index) + offsetof(struct klp_rt_thread, verdict),
				 &verdict, sizeof(verdict), e);
}

/* Proof 3, while the thread is stopped. */
static void klp_transition_look(void *ctx, pid_t tid, const struct klp_unw_regs *regs, uint64_t thread_pointer)
{
	struct klp_run *run = ctx;
	struct klp_mover *m = run->looked;
	struct klp_session *s = run->s;
	struct klp_error err = KLP_ERROR_INIT;
	unsigned leaving = KLP_TR_TARGET(s->cb->transition) ? 0 : 1;

	klp_prove_registers(s, tid, regs, thread_pointer, run->plan.leave[leaving], run->plan.leave_count[leaving],
			    run->proof);
	m->reason = run->proof->verdict;
	m->function = run->proof->function;
	if (run->proof->verdict != KLP_OK || klp_movers_read(run, &m, 1, &err))
		return;
	m->candidate = !klp_sweep_verdict(run, m, &err);
}

/* Proof 1. A thread that sleeps for less than a sweep takes is looked at once more by itself: its count is read
 * immediately before and the verdict stored immediately behind. */
static int klp_sweep_blocked(struct klp_run *run, struct klp_mover *m, struct klp_error *e)
{
	struct klp_session *s = run->s;
	unsigned leaving = KLP_TR_TARGET(s->cb->transition) ? 0 : 1;
	int rc = 0;

	if (!m->outran) {
		klp_prove_blocked(s, m->tid, run->plan.leave[leaving], run->plan.leave_count[leaving], run->proof);
		return 0;
	}
	for (unsigned look = 0; look < KLP_SWEEP_LOOKS && !rc; look++) {
		rc = klp_movers_read(run, &m, 1, e);
		if (!rc)
			klp_prove_blocked(s, m->tid, run->plan.leave[leaving], run->plan.leave_count[leaving],
					  run->proof);
		if (run->proof->verdict != KLP_UNW_CHANGED)
			break;
	}
	if (!rc && run->proof->verdict == KLP_OK && !run->proof->gone && !run->proof->kernel_made)
		rc = klp_sweep_verdict(run, m, e);
	return rc;
}

/* m->entry has been read. */
static int klp_sweep_thread(struct klp_run *run, struct klp_mover *m, struct klp_error *e)
{
	struct klp_session *s = run->s;
	unsigned leaving = KLP_TR_TARGET(s->cb->transition) ? 0 : 1;
	enum klp_running_way way;
	int rc;

	m->candidate = false;
	/* in_sp: a thread inside dispatch may still store a universe that it was told before a reversal. */
	if (klp_entry_arrived(s, &m->entry) && !m->entry.in_sp) {
		m->moved = true;
		return 0;
	}
	rc = klp_sweep_blocked(run, m, e);
	if (rc)
		return rc;
	m->outran = run->proof->verdict == KLP_UNW_CHANGED;
	if (run->proof->gone || run->proof->kernel_made) {
		m->moved = true;
		m->gone = run->proof->gone;
		return 0;
	}
	/* "Running" says less than the last look at its registers: who waits for it wants to know where it is. */
	if (!run->proof->running || !m->function) {
		m->reason = run->proof->verdict;
		m->function = run->proof->function;
	}
	if (!run->proof->running) {
		klp_running_rests(&m->running);
		m->candidate = run->proof->verdict == KLP_OK;
		return 0;
	}
	/* Its count must be older than the picture. It was read with those of other threads, which may have taken long.
	 */
	rc = klp_movers_read(run, &m, 1, e);
	if (rc)
		return rc;
	way = klp_running_look(s, m->tid, &m->running, run->plan.leave[leaving], run->plan.leave_count[leaving],
			       run->proof);
	if (way == KLP_RUNNING_PICTURED) {
		m->reason = run->proof->verdict;
		m->function = run->proof->function;
		m->candidate = run->proof->verdict == KLP_OK;
	}
	if (way != KLP_RUNNING_INTERRUPT)
		return 0;
	run->looked = m;
	rc = klp_remote_interrupt(&s->r, m->tid, klp_transition_look, run, e);
	if (rc < 0 && rc != -ESRCH && rc != -EBUSY && rc != -EPERM)
		return rc;
	if (rc == -ESRCH)
		m->moved = false; /* the next listing tells */
	return 0;
}

/* T1's final check: verdict stored, membarrier, count read again. Unchanged: every later entry sees the verdict. */
static int klp_sweep_verify(struct klp_run *run, struct klp_error *e)
{
	struct klp_session *s = run->s;
	uint16_t generation = KLP_TR_GENERATION(s->cb->transition);

	for (size_t i = 0; i < run->list.count;) {
		struct klp_mover *batch[KLP_MAX_OPS];
		uint64_t count[KLP_MAX_OPS];
		size_t ops = 0;
		int rc;

		for (; i < run->list.count && ops < KLP_MAX_OPS - 1; i++) {
			struct klp_mover *m = &run->list.m[i];

			if (!m->candidate || m->moved)
				continue;
			batch[ops] = m;
			count[ops] = m->entry.count;
			klp_op_store(&run->op[ops++],
				     klp_thread_addr(s, m->index) + offsetof(struct klp_rt_thread, verdict),
				     KLP_VERDICT(generation, m->entry.count));
		}
		if (!ops)
			break;
		klp_op_sync(&run->op[ops]); /* S4: pairs with "count before verdict" in klp/runtime/dispatch.c */
		rc = klp_remote_run(&s->r, run->op, ops + 1, e);
		if (!rc)
			rc = klp_movers_read(run, batch, ops, e);
		if (rc)
			return rc;
		for (size_t k = 0; k < ops; k++) {
			const struct klp_rt_thread *t = &batch[k]->entry;

			batch[k]->moved = t->count == count[k] || (klp_entry_arrived(s, &batch[k]->entry) && !t->in_sp);
			if (batch[k]->moved)
				continue;
			batch[k]->reason = KLP_RUNNING;
			batch[k]->outran = true;
		}
	}
	return 0;
}

void klp_sweep_pending(struct klp_run *run)
{
	json_array_clear(run->s->pending);
	for (size_t i = 0; i < run->list.count; i++) {
		const struct klp_mover *m = &run->list.m[i];

		if (!m->moved)
			klp_pending_add(run->s, run->s->pending, m->tid, m->function, m->reason,
					(klp_clock_now() - m->since) / 1000000);
	}
}

/*
 * An object may have been closed meanwhile, and another one lie in its place: its frames were walked by the wrong rows.
 */
static int klp_sweep_believe(struct klp_run *run, struct klp_error *e)
{
	bool any = false;
	int rc;

	for (size_t i = 0; i < run->list.count && !any; i++)
		any = run->list.m[i].candidate && !run->list.m[i].moved;
	if (!any)
		return 0; /* the next sweep begins with the same question */
	rc = klp_tables_renew(run->s, e);
	for (size_t i = 0; i < run->list.count && rc == 1; i++)
		run->list.m[i].candidate = false;
	return rc < 0 ? rc : 0;
}

int klp_sweep(struct klp_run *run, size_t *left, bool *running, struct klp_error *e)
{
	/* Verdicts of looks in haste, or at a stopped thread, are stored at once: their rows are of this sweep. */
	int rc = run->list.count ? klp_tables_renew(run->s, e) : 0;

	if (rc >= 0)
		rc = klp_movers_list(run, e);
	klp_running_round(run->s, run->list.count);
	for (size_t i = 0; i < run->list.count && !rc;) {
		struct klp_mover *batch[KLP_SWEEP_BATCH];
		size_t n = 0;

		for (; i < run->list.count && n < KLP_SWEEP_BATCH; i++)
			if (!run->list.m[i].moved)
				batch[n++] = &run->list.m[i];
		rc = klp_movers_read(run, batch, n, e);
		for (size_t k = 0; k < n && !rc; k++)
			rc = klp_sweep_thread(run, batch[k], e);
	}
	if (!rc)
		rc = klp_sweep_believe(run, e);
	if (!rc)
		rc = klp_sweep_verify(run, e);
	*left = 0;
	*running = false;
	for (size_t i = 0; i < run->list.count; i++) {
		if (run->list.m[i].moved)
			continue;
		(*left)++;
		*running |= run->list.m[i].running.answers != 0;
	}
	return rc;
}
