/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/entries.h"

#include <errno.h>
#include <stdlib.h>

#include "klp/written.h"

/* The count was read before: if nobody has the tid now, a thread that has it later begins with that count, clean. The
 * helper never dispatches. */
static bool klp_tid_is_free(struct klp_session *s, uint32_t ns_tid)
{
	struct klp_task_info info;
	pid_t tid = klp_task_by_ns_tid(&s->p, ns_tid, &info);

	return !tid || tid == s->r.helper;
}

static int klp_entry_waits(const struct klp_rt_thread *t, struct klp_error *e)
{
	return klp_fail(e, EAGAIN, KLP_PENDING, "thread %u has the tid of one that has ended, and has not moved yet",
			t->tid);
}

/* As klp_sweep_verify: verdict, membarrier, count. */
static int klp_entries_verify(struct klp_run *run, const struct klp_rt_thread *table, const uint32_t *index,
			      size_t count, struct klp_error *e)
{
	struct klp_session *s = run->s;
	uint16_t generation = KLP_TR_GENERATION(s->cb->transition);
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < count; i++)
		klp_op_store(&run->op[n++], klp_thread_addr(s, index[i]) + offsetof(struct klp_rt_thread, verdict),
			     KLP_VERDICT(generation, table[index[i]].count));
	klp_op_sync(&run->op[n++]); /* S4: pairs with "count before verdict" in klp/runtime/dispatch.c */
	rc = klp_remote_run(&s->r, run->op, n, e);
	for (size_t i = 0; i < count && !rc; i++) {
		uint64_t now;

		rc = klp_process_read(&s->p, klp_thread_addr(s, index[i]) + offsetof(struct klp_rt_thread, count), &now,
				      sizeof(now), e);
		if (!rc && now != table[index[i]].count)
			rc = klp_entry_waits(&table[index[i]], e);
	}
	return rc;
}

/* Of this transition, in the other universe, and without a verdict that its next dispatch will apply. */
static bool klp_entry_is_left(const struct klp_session *s, const struct klp_rt_thread *t)
{
	uint64_t word = s->cb->transition;

	if (!t->tid || t->tid == KLP_TID_FREED || t->state >> 1 != (KLP_TR_ID(word) & 0x7fffffffu) ||
	    klp_entry_arrived(s, t))
		return false;
	return !t->verdict || KLP_VERDICT_GENERATION(t->verdict) != KLP_TR_GENERATION(word) ||
	       KLP_VERDICT_COUNT(t->verdict) != t->count;
}

static int klp_entries_look(struct klp_run *run, const struct klp_rt_thread *table, const bool *proven, uint32_t *index,
			    struct klp_error *e)
{
	size_t n = 0;
	int rc = 0;

	for (uint32_t i = 0; i < KLP_MAX_THREADS && !rc; i++) {
		if (!proven[i] && klp_entry_is_left(run->s, &table[i])) {
			if (!klp_tid_is_free(run->s, table[i].tid))
				return klp_entry_waits(&table[i], e);
			index[n++] = i;
		}
		if (n == KLP_MAX_OPS - 1 || (n && i + 1 == KLP_MAX_THREADS)) {
			rc = klp_entries_verify(run, table, index, n, e);
			n = 0;
		}
	}
	return rc;
}

int klp_entries_settle(struct klp_run *run, struct klp_error *e)
{
	struct klp_session *s = run->s;
	struct klp_rt_thread *table = calloc(KLP_MAX_THREADS, sizeof(*table));
	bool *proven = calloc(KLP_MAX_THREADS, sizeof(*proven));
	uint32_t *index = malloc(KLP_MAX_OPS * sizeof(*index));
	int rc = 0;

	if (!table || !proven || !index)
		rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the thread table");
	for (size_t i = 0; i < run->list.count && !rc; i++) {
		const struct klp_mover *m = &run->list.m[i];

		if (m->index < KLP_MAX_THREADS)
			proven[m->index] = m->moved && !m->gone;
	}
	if (!rc)
		rc = klp_process_read_written(&s->p, klp_thread_addr(s, 0), table, KLP_MAX_THREADS * sizeof(*table), e);
	if (!rc)
		rc = klp_entries_look(run, table, proven, index, e);
	free(index);
	free(proven);
	free(table);
	return rc;
}
