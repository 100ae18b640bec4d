/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "klp/callbacks.h"
#include "klp/reclaim.h"
#include "klp/session.h"
#include "klp/transition.h"

#define KLP_UNLOAD_WAIT_MS 1000u /* for threads to be seen outside of klp's memory, after the transition */

static struct klp_patch *klp_patch_left(struct klp_session *s, const char *name)
{
	for (size_t i = 0; i < s->patch_count; i++)
		if ((s->patch[i].rec.state == KLP_PATCH_DISABLED || s->patch[i].rec.state == KLP_PATCH_LOADING) &&
		    !strcmp(s->patch[i].rec.name, name))
			return &s->patch[i];
	return NULL;
}

static int klp_unload_start(struct klp_session *s, const char *name, struct klp_error *e)
{
	struct klp_patch *p;
	int rc = klp_session_start(s, e);

	if (!rc)
		rc = klp_callbacks_run_owed(s, e);
	if (rc)
		return rc;
	p = klp_transition_patch(s);
	if (p && strcmp(p->rec.name, name))
		return klp_fail(e, EBUSY, KLP_BUSY, "the transition of patch '%s' is in progress", p->rec.name);
	if (p)
		return p->rec.state == KLP_PATCH_ENABLING ? klp_transition_reverse(s, e) : 0;
	p = klp_patch_find(s, name);
	if (!p || p->rec.state != KLP_PATCH_ENABLED)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "patch '%s' is in no state to be unloaded", name);
	klp_log(s, 0, "'%s': initializing unpatching transition", name);
	rc = klp_callbacks_pass(s, p->rec.order, KLP_CALLBACK_PRE_UNPATCH, e);
	if (rc)
		return rc;
	p = klp_patch_find(s, name); /* the list has been read again */
	if (!p)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "patch '%s' is gone", name);
	return klp_transition_start(s, p, KLP_TRANSITION_UNLOAD, e);
}

static int klp_unload_session(struct klp_session *s, const char *name, struct klp_reclaimed *done, struct klp_error *e)
{
	struct klp_patch *p = klp_transition_patch(s);
	int rc;

	if (p && strcmp(p->rec.name, name))
		return klp_fail(e, EBUSY, KLP_BUSY, "the transition of patch '%s' is in progress", p->rec.name);
	if (!p && !klp_patch_find(s, name)) {
		enum klp_callback kind;
		bool undone;

		klp_fail(e, ENOENT, KLP_NOT_LOADED, "patch '%s' is not loaded", name);
		p = klp_patch_left(s, name);
		if (!p)
			return 1;
		/* A load that did not come as far: undone now. */
		undone = false;
		for (size_t i = 0; i < s->patch_count; i++)
			undone |=
			    klp_patch_same(&s->patch[i], p) &&
			    (s->patch[i].rec.state == KLP_PATCH_LOADING || klp_callback_owed(&s->patch[i].rec, &kind) ||
			     (s->cb->callback.state && s->cb->callback.patch == s->patch[i].index));
		/* Unloaded before, its memory still there: try to give it back. */
		rc = klp_session_start(s, e);
		rc = rc ? rc : klp_callbacks_run_owed(s, e);
		rc = rc ? rc : klp_reclaim(s, KLP_UNLOAD_WAIT_MS, done, e);
		return rc ? rc : !undone;
	}
	/* Twice if it began with the end of somebody else's commit, which cannot be reversed any more. */
	for (unsigned pass = 0; pass < 2; pass++) {
		rc = klp_unload_start(s, name, e);
		if (!rc)
			rc = klp_transition_run(s, e);
		if (!rc)
			rc = klp_callbacks_run_owed(s, e);
		if (rc || !klp_patch_find(s, name))
			break;
	}
	if (!rc)
		rc = klp_reclaim(s, KLP_UNLOAD_WAIT_MS, done, e);
	return rc;
}

static void klp_unload_report(json_t *o, const struct klp_reclaimed *done, int rc)
{
	if (rc < 0)
		return;
	json_object_set_new(o, "memory_left", json_boolean(!done->complete));
	json_object_set_new(o, "pinned", json_integer((json_int_t)done->pinned));
	json_object_set_new(o, "shadow_variables", json_integer((json_int_t)done->shadow));
	json_object_set_new(o, "threads_in_memory", json_integer((json_int_t)done->waiting));
}

int klp_unload(pid_t pid, const char *name, const struct klp_options *o, json_t **result, struct klp_error *e)
{
	struct klp_reclaimed done = {0};
	struct klp_session s;
	size_t functions = 0;
	int rc = klp_session_open(&s, pid, KLP_SESSION_CHANGE, o, e);

	if (!rc) {
		const struct klp_patch *p = klp_patch_find(&s, name);

		functions = p ? klp_module_functions(&p->meta) : 0;
		rc = klp_unload_session(&s, name, &done, e);
	}
	if (result) {
		*result = klp_session_result(&s, pid, name, functions, rc, e);
		klp_unload_report(*result, &done, rc);
	}
	klp_session_close(&s);
	return rc;
}

int klp_force(pid_t pid, const char *name, const struct klp_options *o, json_t **result, struct klp_error *e)
{
	struct klp_session s;
	int rc = klp_session_open(&s, pid, KLP_SESSION_CHANGE, o, e);

	if (!rc) {
		const struct klp_patch *p = klp_transition_patch(&s);

		if (!p || strcmp(p->rec.name, name))
			rc = klp_fail(e, EINVAL, KLP_NOT_LOADED, "no transition of patch '%s' is pending", name);
		else
			rc = klp_session_start(&s, e);
		if (!rc)
			rc = klp_transition_force(&s, e);
		if (!rc)
			rc = klp_callbacks_run_owed(&s, e);
	}
	if (result)
		*result = klp_session_result(&s, pid, name, 0, rc, e);
	klp_session_close(&s);
	return rc;
}
