/* SPDX-License-Identifier: Apache-2.0 */
/* klpctl check and stack: what a load would meet now; the target is only read. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "klp/applicable.h"
#include "klp/look.h"
#include "klp/symbols.h"

static void klp_check_thread(struct klp_session *s, pid_t tid, const struct klp_proof *proof, void *ctx)
{
	if (proof->verdict != KLP_OK)
		klp_pending_add(s, ctx, tid, proof->function, proof->verdict, 0);
}

/* What a thread must not have on its stack, of one object; returns how many. */
static size_t klp_check_ranges(const struct klp_module_object *mo, uint64_t bias, struct klp_range *range)
{
	size_t count = 0;

	for (size_t i = 0; i < mo->function_count; i++)
		for (size_t k = 0; k < mo->function[i].range_count; k++)
			range[count++] = (struct klp_range){bias + mo->function[i].range[k].start,
							    bias + mo->function[i].range[k].end};
	return count;
}

int klp_check(pid_t pid, const struct klp_module *m, json_t **result, struct klp_error *e)
{
	const struct klp_object *o[KLP_MODULE_MAX_OBJECTS] = {NULL};
	struct klp_range *range = NULL;
	struct klp_session s;
	size_t count = 0;
	int rc = klp_session_open(&s, pid, KLP_SESSION_READ, NULL, e);

	if (!rc)
		rc = klp_process_check(&s.p, e);
	if (!rc)
		rc = klp_applicable_objects(&s, m, o, e);
	if (!rc)
		rc = klp_applicable_name(m, e);
	if (!rc)
		rc = klp_applicable_check(&s, m, o, e);
	if (!rc) {
		range = calloc(klp_module_functions(m) * KLP_MODULE_MAX_RANGES, sizeof(*range));
		if (!range)
			rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the range list");
		for (size_t i = 0; range && i < m->object_count; i++)
			count += klp_check_ranges(&m->object[i], o[i]->bias, range + count);
	}
	if (!rc)
		rc = klp_look_at_threads(&s, range, count, klp_check_thread, s.pending, e);
	*result = klp_session_result(&s, pid, m->name, klp_module_functions(m), rc, e);
	free(range);
	klp_session_close(&s);
	return rc;
}

struct klp_stack_list {
	json_t *threads;
	struct klp_symbols *symbols;
};

static void klp_stack_thread(struct klp_session *s, pid_t tid, const struct klp_proof *proof, void *ctx)
{
	struct klp_stack_list *l = ctx;
	json_t *o = json_object(), *frames = json_array();
	char name[64];

	klp_task_comm(&s->p, tid, name, sizeof(name));
	json_object_set_new(o, "tid", json_integer(tid));
	json_object_set_new(o, "name", klp_json_text(name));
	json_object_set_new(o, "reliable", json_boolean(proof->verdict == KLP_OK));
	json_object_set_new(o, "reason",
			    proof->verdict == KLP_OK ? json_null() : json_string(klp_reason_name(proof->verdict)));
	for (size_t i = 0; i < proof->trace.count; i++) {
		const struct klp_unw_frame *f = &proof->trace.frame[i];
		const struct klp_object *obj = klp_process_object_at(&s->p, f->lookup);
		json_t *frame = json_object();
		char function[600];
		uint64_t start;

		json_object_set_new(frame, "pc", json_integer((json_int_t)f->pc));
		json_object_set_new(frame, "object", obj ? klp_json_text(obj->path) : json_null());
		json_object_set_new(frame, "offset", obj ? json_integer((json_int_t)(f->pc - obj->bias)) : json_null());
		json_object_set_new(
		    frame, "function",
		    klp_json_text(klp_symbols_name(s, l->symbols, f->lookup, function, sizeof(function), &start)));
		json_object_set_new(frame, "function_offset",
				    start ? json_integer((json_int_t)(f->pc - start)) : json_null());
		json_object_set_new(frame, "signal", json_boolean(f->signal));
		json_array_append_new(frames, frame);
	}
	json_object_set_new(o, "frames", frames);
	json_array_append_new(l->threads, o);
}

int klp_stack(pid_t pid, json_t **result, struct klp_error *e)
{
	struct klp_stack_list list;
	struct klp_session s;
	int rc = klp_session_open(&s, pid, KLP_SESSION_READ, NULL, e);

	*result = NULL;
	if (!rc) {
		list = (struct klp_stack_list){json_array(), klp_symbols_new(&s)};
		rc = klp_look_at_threads(&s, NULL, 0, klp_stack_thread, &list, e);
		klp_symbols_free(list.symbols);
		*result = json_object();
		json_object_set_new(*result, "pid", json_integer(pid));
		json_object_set_new(*result, "result", json_string(rc ? "failed" : "done"));
		json_object_set_new(*result, "threads", list.threads);
	} else {
		*result = klp_session_result(&s, pid, NULL, 0, rc, e);
	}
	klp_session_close(&s);
	return rc;
}
