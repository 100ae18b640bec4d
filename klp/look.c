/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/look.h"

#include <errno.h>
#include <stdlib.h>

#include "klp/movers.h"
#include "klp/running.h"
#include "klp/transition.h"
#include "klp/written.h"

int klp_look_at_threads(struct klp_session *s, const struct klp_range *range, size_t count, klp_thread_fn fn, void *ctx,
			struct klp_error *e)
{
	struct klp_proof *proof = malloc(sizeof(*proof));
	pid_t *tid = NULL;
	size_t n = 0;
	int rc;

	if (!proof)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for a stack trace");
	rc = klp_process_tids(&s->p, &tid, &n, e);
	if (!rc)
		rc = klp_tables_build(s, e);
	for (size_t i = 0; i < n && !rc; i++) {
		klp_prove_blocked(s, tid[i], range, count, proof);
		if (proof->running)
			(void)klp_running_show(s, tid[i], range, count, proof);
		if (!proof->gone)
			fn(s, tid[i], proof, ctx);
	}
	s->threads = n;
	free(proof);
	free(tid);
	return rc;
}

void klp_pending_add(const struct klp_session *s, json_t *list, pid_t tid, uint64_t function, enum klp_reason reason,
		     uint64_t since_ms)
{
	char name[600], comm[64];
	json_t *o = json_object();

	klp_task_comm(&s->p, tid, comm, sizeof(comm));
	json_object_set_new(o, "tid", json_integer(tid));
	json_object_set_new(o, "name", klp_json_text(comm));
	json_object_set_new(o, "function",
			    function ? klp_json_text(klp_function_name(s, function, name, sizeof(name))) : json_null());
	json_object_set_new(o, "reason", json_string(klp_reason_name(reason)));
	json_object_set_new(o, "since_ms", json_integer((json_int_t)since_ms));
	json_array_append_new(list, o);
}

struct klp_waits {
	struct klp_rt_thread *table;
	json_t *list;
	uint64_t since_ms;
};

static void klp_waits_thread(struct klp_session *s, pid_t tid, const struct klp_proof *proof, void *ctx)
{
	const struct klp_waits *w = ctx;
	struct klp_error ignored = KLP_ERROR_INIT;
	uint64_t word = s->cb->transition;
	const struct klp_rt_thread *t = NULL;
	struct klp_task_info info;
	bool moved;

	if (tid == s->r.helper || klp_task_info(&s->p, tid, &info, &ignored))
		return;
	for (size_t i = 0; i < KLP_MAX_THREADS && !t; i++)
		if (w->table[i].tid == (uint32_t)info.ns_tid)
			t = &w->table[i];
	/* Without an entry: it was born behind the seal, or is to be listed yet. */
	if (t)
		moved = klp_entry_arrived(s, t) ||
			(t->verdict && KLP_VERDICT_GENERATION(t->verdict) == KLP_TR_GENERATION(word) &&
			 KLP_VERDICT_COUNT(t->verdict) == t->count);
	else
		moved = KLP_TR_SEALED(word);
	if (!moved)
		klp_pending_add(s, w->list, tid, proof->function, proof->verdict, w->since_ms);
}

int klp_transition_waits_for(struct klp_session *s, json_t *list, uint64_t since_ms, struct klp_error *e)
{
	struct klp_waits w = {.list = list, .since_ms = since_ms};
	struct klp_patch *p = klp_transition_patch(s);
	unsigned left = !KLP_TR_TARGET(s->cb->transition);
	struct klp_range *range = NULL;
	size_t count = 0;
	int rc;

	if (!p)
		return 0;
	w.table = calloc(KLP_MAX_THREADS, sizeof(*w.table));
	if (!w.table)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the thread table");
	rc = klp_process_read_written(&s->p, klp_thread_addr(s, 0), w.table, KLP_MAX_THREADS * sizeof(*w.table), e);
	if (!rc)
		rc = klp_transition_ranges(s, p, (enum klp_transition_kind)s->cb->transition_kind, left, &range, &count,
					   e);
	if (!rc)
		rc = klp_look_at_threads(s, range, count, klp_waits_thread, &w, e);
	free(range);
	free(w.table);
	return rc;
}
