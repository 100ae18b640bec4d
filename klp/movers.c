/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/movers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "klp/clock.h"

uint64_t klp_thread_addr(const struct klp_session *s, uint32_t index)
{
	return klp_cb_addr(s, offsetof(struct klp_rt_cb, threads) + (size_t)index * sizeof(struct klp_rt_thread));
}

static struct klp_mover *klp_mover_find(struct klp_mover_list *l, pid_t tid)
{
	size_t low = 0, high = l->count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (l->m[mid].tid == tid)
			return &l->m[mid];
		if (l->m[mid].tid < tid)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static int klp_mover_compare(const void *a, const void *b)
{
	pid_t x = ((const struct klp_mover *)a)->tid, y = ((const struct klp_mover *)b)->tid;

	return x < y ? -1 : x > y;
}

static int klp_mover_ns_tid(struct klp_run *run, struct klp_mover *m)
{
	struct klp_task_info info;
	struct klp_error err = KLP_ERROR_INIT;

	if (run->s->p.same_ns) {
		m->ns_tid = (uint32_t)m->tid;
		return 0;
	}
	if (klp_task_info(&run->s->p, m->tid, &info, &err))
		return -ESRCH;
	m->ns_tid = (uint32_t)info.ns_tid;
	return 0;
}

int klp_movers_full(const struct klp_run *run, struct klp_error *e)
{
	return klp_fail(
	    e, EAGAIN, KLP_PENDING,
	    "the thread table of %u entries is full, so nothing can be proven: turn the patch round (%s it)",
	    KLP_MAX_THREADS, run->plan.kind == KLP_TRANSITION_LOAD ? "unload" : "load");
}

int klp_movers_list(struct klp_run *run, struct klp_error *e)
{
	struct klp_session *s = run->s;
	uint64_t word = s->cb->transition;
	uint32_t fresh = KLP_TR_ID(word) << 1 | (KLP_TR_SEALED(word) ? KLP_TR_TARGET(word) : 0);
	size_t old = run->list.count, n = 0;
	pid_t *tid = NULL;
	int rc = klp_process_tids(&s->p, &tid, &n, e);

	if (rc)
		return rc;
	s->threads = n;
	for (size_t i = 0; i < old; i++)
		run->list.m[i].listed = false;
	for (size_t i = 0; i < n; i++) {
		struct klp_mover *m = klp_mover_find(&(struct klp_mover_list){run->list.m, old, 0}, tid[i]);

		if (tid[i] == s->r.helper)
			continue;
		if (m) {
			m->listed = true;
			/* Its tid is used again; or it is a main thread that has exited. */
			if (m->gone) {
				m->gone = m->moved = false;
				m->since = klp_clock_now();
			}
			continue;
		}
		if (run->list.count == run->list.room) {
			size_t room = run->list.room ? run->list.room * 2 : 64;
			struct klp_mover *grown = realloc(run->list.m, room * sizeof(*grown));

			if (!grown) {
				free(tid);
				return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the thread list");
			}
			run->list.m = grown;
			run->list.room = room;
		}
		m = &run->list.m[run->list.count];
		memset(m, 0, sizeof(*m));
		m->tid = tid[i];
		m->since = klp_clock_now();
		m->reason = KLP_RUNNING;
		m->index = UINT32_MAX;
		if (klp_mover_ns_tid(run, m))
			continue;
		m->listed = true;
		run->list.count++;
	}
	free(tid);
	/* Those that ended are forgotten; their entries stay (klp_entries_settle). */
	n = 0;
	for (size_t i = 0; i < run->list.count; i++)
		if (run->list.m[i].listed)
			run->list.m[n++] = run->list.m[i];
	run->list.count = n;
	qsort(run->list.m, run->list.count, sizeof(*run->list.m), klp_mover_compare);

	for (size_t i = 0; i < run->list.count;) {
		struct klp_mover *batch[KLP_MAX_OPS];
		size_t ops = 0;

		for (; i < run->list.count && ops < KLP_MAX_OPS; i++) {
			struct klp_mover *m = &run->list.m[i];

			if (m->index != UINT32_MAX)
				continue;
			batch[ops] = m;
			run->op[ops++] = (struct klp_rt_op){.code = KLP_OP_INSERT, .a = {m->ns_tid, fresh}};
		}
		if (!ops)
			break;
		rc = klp_remote_run(&s->r, run->op, ops, e);
		if (rc)
			return rc;
		for (size_t k = 0; k < ops; k++) {
			/* A thread without a place is in universe 0 (dispatch.c). */
			if (run->op[k].result == -ENOSPC && !KLP_TR_TARGET(word)) {
				batch[k]->moved = true;
				continue;
			}
			if (run->op[k].result < 0 || run->op[k].result >= (int64_t)KLP_MAX_THREADS)
				return klp_movers_full(run, e);
			batch[k]->index = (uint32_t)run->op[k].result;
		}
	}
	return 0;
}

int klp_movers_read(struct klp_run *run, struct klp_mover *const *m, size_t count, struct klp_error *e)
{
	static _Thread_local struct klp_piece piece[KLP_MAX_OPS];
	static _Thread_local uint64_t mark[KLP_MAX_OPS];
	int rc;

	for (size_t i = 0; i < count; i++)
		piece[i] =
		    (struct klp_piece){klp_thread_addr(run->s, m[i]->index) + offsetof(struct klp_rt_thread, in_sp),
				       &mark[i], sizeof(mark[i])};
	rc = klp_process_read_pieces(&run->s->p, piece, count, e);
	for (size_t i = 0; i < count; i++)
		piece[i] = (struct klp_piece){klp_thread_addr(run->s, m[i]->index), &m[i]->entry, sizeof(m[i]->entry)};
	if (!rc)
		rc = klp_process_read_pieces(&run->s->p, piece, count, e);
	for (size_t i = 0; i < count && !rc; i++) {
		m[i]->entry.in_sp |= mark[i];
		if (m[i]->entry.tid != m[i]->ns_tid)
			rc = klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "the entry of thread %d belongs to %u", m[i]->tid,
				      m[i]->entry.tid);
	}
	return rc;
}

bool klp_entry_arrived(const struct klp_session *s, const struct klp_rt_thread *t)
{
	uint64_t word = s->cb->transition;
	unsigned universe = t->state >> 1 == (KLP_TR_ID(word) & 0x7fffffffu) ? t->state & 1 : 0;

	return universe == KLP_TR_TARGET(word);
}
