/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/places.h"

#include <errno.h>
#include <stdlib.h>

#include "klp/written.h"

#define KLP_PLACES_TIDY (KLP_MAX_THREADS / 4u) /* taken places from which on it is worth reading the table */

static int klp_compare_tids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Sorted; as the target's own pid namespace sees them. */
static int klp_places_living(struct klp_session *s, uint32_t **living, size_t *count, struct klp_error *e)
{
	pid_t *tid = NULL;
	size_t n = 0;
	int rc = klp_process_tids(&s->p, &tid, &n, e);

	*count = 0;
	*living = rc ? NULL : calloc(n + 1, sizeof(**living));
	if (!rc && !*living)
		rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the thread list");
	for (size_t i = 0; i < n && !rc; i++) {
		struct klp_error ended = KLP_ERROR_INIT;
		struct klp_task_info info;

		if (s->p.same_ns)
			(*living)[(*count)++] = (uint32_t)tid[i];
		else if (!klp_task_info(&s->p, tid[i], &info, &ended))
			(*living)[(*count)++] = (uint32_t)info.ns_tid;
	}
	free(tid);
	if (*count)
		qsort(*living, *count, sizeof(**living), klp_compare_tids);
	return rc;
}

static int klp_places_free(struct klp_session *s, const struct klp_rt_thread *table, const uint32_t *living,
			   size_t count, struct klp_rt_op *op, struct klp_error *e)
{
	size_t n = 0;
	int rc = 0;

	for (uint32_t i = 0; i < KLP_MAX_THREADS && !rc; i++) {
		uint32_t tid = table[i].tid;

		if (tid && tid != KLP_TID_FREED && !bsearch(&tid, living, count, sizeof(*living), klp_compare_tids))
			op[n++] = (struct klp_rt_op){.code = KLP_OP_FORGET, .a = {i, tid}};
		if (n == KLP_MAX_OPS || (n && i + 1 == KLP_MAX_THREADS)) {
			rc = klp_remote_run(&s->r, op, n, e);
			n = 0;
		}
	}
	return rc;
}

int klp_places_tidy(struct klp_session *s, struct klp_error *e)
{
	uint64_t places, overflow;
	struct klp_rt_thread *table;
	struct klp_rt_op *op;
	uint32_t *living = NULL;
	size_t count;
	int rc = klp_process_read(&s->p, s->r.cb + offsetof(struct klp_rt_cb, places), &places, sizeof(places), e);

	if (!rc)
		rc = klp_process_read(&s->p, s->r.cb + offsetof(struct klp_rt_cb, overflow), &overflow,
				      sizeof(overflow), e);
	if (rc || (places < KLP_PLACES_TIDY && !overflow))
		return rc;
	table = calloc(KLP_MAX_THREADS, sizeof(*table));
	op = calloc(KLP_MAX_OPS, sizeof(*op));
	if (!table || !op)
		rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the thread table");
	/* The table first: who is in it and not among those that live afterwards has ended. */
	if (!rc)
		rc = klp_process_read_written(&s->p, s->r.cb + offsetof(struct klp_rt_cb, threads), table,
					      KLP_MAX_THREADS * sizeof(*table), e);
	if (!rc)
		rc = klp_places_living(s, &living, &count, e);
	if (!rc)
		rc = klp_places_free(s, table, living, count, op, e);
	if (!rc && overflow) {
		klp_op_store(&op[0], s->r.cb + offsetof(struct klp_rt_cb, overflow), 0);
		rc = klp_remote_run(&s->r, op, 1, e);
	}
	free(living);
	free(op);
	free(table);
	return rc;
}
