/* SPDX-License-Identifier: Apache-2.0 */
/* klpctl status: reads the control block, stops nobody, writes nothing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "klp/arming.h"
#include "klp/callbacks.h"
#include "klp/look.h"
#include "klp/plan.h"
#include "klp/shadow.h"
#include "klp/states.h"
#include "klp/transition.h"

static const char *klp_site_word(struct klp_session *s, struct klp_site_set *sites, uint64_t record)
{
	static const char *const word[] = {
	    [KLP_STATE_DORMANT] = "dormant",   [KLP_STATE_PARTIAL] = "partial", [KLP_STATE_ARMED] = "armed",
	    [KLP_STATE_BYPASSED] = "bypassed", [KLP_STATE_FOREIGN] = "taken",   [KLP_STATE_GONE] = "gone",
	};
	struct klp_armed_site *a = klp_site_find(sites, record);
	struct klp_error ignored = KLP_ERROR_INIT;
	enum klp_site_state state;
	size_t done;

	if (!a || klp_site_read_state(s, a, &state, &done, &ignored) ||
	    (unsigned)state >= sizeof(word) / sizeof(word[0]))
		return "unknown";
	return word[state];
}

/* Those of one of the patch's objects. */
static void klp_status_functions(struct klp_session *s, const struct klp_patch *p, struct klp_site_set *sites,
				 json_t *list)
{
	for (size_t k = 0; k < p->rec.function_count; k++) {
		const struct klp_module_function *fn = klp_patch_function(p, k);
		json_t *o = json_object();

		json_object_set_new(o, "object", klp_json_text(klp_patch_object(p)->name));
		json_object_set_new(o, "name", klp_json_text(fn->name));
		json_object_set_new(o, "sympos", json_integer((json_int_t)fn->sympos));
		json_object_set_new(o, "old_address", json_integer((json_int_t)(p->rec.bias + fn->address)));
		json_object_set_new(o, "new_address", json_integer((json_int_t)p->function[2 * k + 1]));
		json_object_set_new(o, "site", json_string(klp_site_word(s, sites, p->function[2 * k])));
		json_array_append_new(list, o);
	}
}

static json_t *klp_status_transition(struct klp_session *s, const struct klp_patch *p)
{
	uint64_t word = s->cb->transition;
	struct klp_error ignored = KLP_ERROR_INIT;
	json_t *o, *pending;
	struct timespec now;
	int64_t since;

	if (klp_transition_patch(s) != p)
		return json_null();
	clock_gettime(CLOCK_REALTIME, &now);
	since = (int64_t)((uint64_t)(now.tv_sec * 1000 + now.tv_nsec / 1000000) - s->cb->transition_since);
	o = json_object();
	json_object_set_new(o, "direction",
			    json_string((s->cb->transition_kind == KLP_TRANSITION_LOAD) == (KLP_TR_TARGET(word) == 1)
					    ? "patching"
					    : "unpatching"));
	json_object_set_new(o, "since_ms", json_integer((json_int_t)(since > 0 ? since : 0)));
	json_object_set_new(o, "attended", json_boolean(s->cb->helper_tid != 0));
	pending = json_array();
	if (klp_transition_waits_for(s, pending, (uint64_t)(since > 0 ? since : 0), &ignored)) {
		json_decref(pending); /* the other things are true without it */
		pending = json_null();
	}
	json_object_set_new(o, "pending", pending);
	return o;
}

/* The one that runs now, or that the next load or unload has to run. */
static json_t *klp_status_callback(const struct klp_session *s, const struct klp_patch *p)
{
	const struct klp_rt_callback *c = &s->cb->callback;
	enum klp_callback kind;
	bool asked = c->state == KLP_RT_CALLBACK_ASKED || c->state == KLP_RT_CALLBACK_RUNS;

	for (size_t i = 0; i < s->patch_count; i++) {
		const struct klp_patch *part = &s->patch[i];

		if (!klp_patch_same(part, p))
			continue;
		if (asked && c->patch == part->index)
			return json_pack("{s:s, s:s, s:I}", "name", klp_callback_name(c->kind), "state", "running",
					 "tid", (json_int_t)c->tid);
		if (!KLP_TR_ACTIVE(s->cb->transition) && klp_callback_owed(&part->rec, &kind))
			return json_pack("{s:s, s:s}", "name", klp_callback_name(kind), "state", "owed");
	}
	return json_null();
}

static json_t *klp_status_patch(struct klp_session *s, const struct klp_patch *p, struct klp_site_set *sites)
{
	json_t *o = json_object(), *functions = json_array();

	for (size_t i = 0; i < s->patch_count; i++)
		if (klp_patch_same(&s->patch[i], p) && s->patch[i].has_meta)
			klp_status_functions(s, &s->patch[i], sites, functions);
	json_object_set_new(o, "name", klp_json_text(p->rec.name));
	json_object_set_new(o, "state", json_string(klp_patch_state_name(p->rec.state)));
	json_object_set_new(o, "enabled",
			    json_boolean(p->rec.state == KLP_PATCH_ENABLING || p->rec.state == KLP_PATCH_ENABLED));
	json_object_set_new(o, "replace", json_boolean(p->rec.replace));
	json_object_set_new(o, "forced", json_boolean(p->rec.forced));
	json_object_set_new(o, "stack_order", json_integer((json_int_t)klp_patch_stack_order(s, p)));
	json_object_set_new(o, "labels", p->has_meta && p->meta.labels ? json_incref(p->meta.labels) : json_array());
	json_object_set_new(o, "functions", functions);
	json_object_set_new(o, "states", klp_states_json(&p->meta));
	json_object_set_new(o, "callback", klp_status_callback(s, p));
	json_object_set_new(o, "transition", klp_status_transition(s, p));
	if (p->has_meta && p->rec.state == KLP_PATCH_DISABLED)
		json_object_set(o, "pinned_by", p->meta.escapes ? p->meta.escapes : json_null());
	return o;
}

int klp_status(pid_t pid, json_t **result, struct klp_error *e)
{
	struct klp_session s;
	struct klp_site_set sites = {0};
	json_t *o, *list;
	size_t shadow = 0;
	int rc = klp_session_open(&s, pid, KLP_SESSION_READ, NULL, e);

	*result = NULL;
	if (rc) {
		*result = klp_session_result(&s, pid, NULL, 0, rc, e);
		return rc;
	}
	rc = klp_sites_read(&s, &sites, e);
	if (!rc)
		rc = klp_shadow_count(&s, &shadow, e);
	if (!rc) {
		o = json_object();
		list = json_array();
		json_object_set_new(o, "pid", json_integer(pid));
		json_object_set_new(o, "result", json_string("done"));
		json_object_set_new(o, "runtime", json_boolean(s.r.image != 0));
		json_object_set_new(o, "shadow_variables", json_integer((json_int_t)shadow));
		for (size_t i = 0; i < s.patch_count; i++)
			if (klp_patch_is_first(&s, i))
				json_array_append_new(list, klp_status_patch(&s, &s.patch[i], &sites));
		json_object_set_new(o, "patches", list);
		*result = o;
	} else {
		*result = klp_session_result(&s, pid, NULL, 0, rc, e);
	}
	klp_site_set_free(&sites);
	klp_session_close(&s);
	return rc;
}
