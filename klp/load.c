/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "klp/applicable.h"
#include "klp/arming.h"
#include "klp/callbacks.h"
#include "klp/digest.h"
#include "klp/gone.h"
#include "klp/link.h"
#include "klp/rearm.h"
#include "klp/reclaim.h"
#include "klp/resolve.h"
#include "klp/session.h"
#include "klp/shadow.h"
#include "klp/states.h"
#include "klp/transition.h"
#include "klp/unwinding.h"

#define KLP_TIDY_WAIT_MS 200u /* for memory that an earlier command could not give back */

/* What is loaded for one of the module's objects. */
struct klp_load_part {
	unsigned object;      /* its index in the metadata */
	struct klp_object at; /* a copy: the process's own array is read again meanwhile */
	unsigned index;       /* of its record */
	struct klp_rt_patch rec;
	struct klp_linked linked;
	struct klp_armed_site *site; /* by function; of all objects one behind the other */
};

static int klp_patch_record(struct klp_session *s, unsigned index, const struct klp_rt_patch *rec, struct klp_error *e)
{
	size_t at = offsetof(struct klp_rt_cb, patches) + index * sizeof(*rec);
	struct klp_rt_patch unpublished = *rec;
	int rc;

	unpublished.state = KLP_PATCH_FREE;
	rc = klp_session_write_cb(s, at, &unpublished, sizeof(unpublished), e);
	return rc ? rc
		  : klp_session_write_cb(s, at + offsetof(struct klp_rt_patch, state), &rec->state, sizeof(rec->state),
					 e);
}

static int klp_segment_write(struct klp_session *s, const struct klp_linked *l, unsigned kind, struct klp_error *e)
{
	const struct klp_segment *seg = &l->seg[kind];

	if (!seg->size)
		return 0;
	return kind == KLP_SEG_DATA
		   ? klp_process_write(&s->p, l->base + seg->offset, seg->bytes, (size_t)seg->size, e)
		   : klp_remote_write_text(&s->r, l->base + seg->offset, seg->bytes, (size_t)seg->size, e);
}

static int klp_module_choose(void *ctx, uint64_t resolver, uint64_t *function, struct klp_error *e)
{
	struct klp_session *s = ctx;
	struct klp_rt_op op = {.code = KLP_OP_CALL, .a = {resolver}};
	int rc = klp_remote_run(&s->r, &op, 1, e);

	*function = (uint64_t)op.result;
	return rc;
}

static int klp_module_runtime(void *ctx, const char *name, uint64_t *function, struct klp_error *e)
{
	return klp_shadow_call(ctx, name, function, e);
}

/* Links the part for a place near its object and maps it there. -EEXIST: the program took that place meanwhile. */
static int klp_part_map(struct klp_session *s, const struct klp_module *m, struct klp_load_part *part, uint64_t size,
			struct klp_error *e)
{
	static const uint32_t prot[KLP_SEG_COUNT] = {PROT_READ | PROT_EXEC, PROT_READ, PROT_READ | PROT_WRITE,
						     PROT_READ};
	const struct klp_chooser chooser = {klp_module_choose, s, klp_module_runtime};
	const struct klp_mapping *where = klp_process_mapping(&s->p, part->at.start);
	uint64_t base = klp_session_near(s, &part->at, size, e);
	struct klp_linked *l = &part->linked;
	unsigned mapped[KLP_SEG_COUNT], n = 0;
	int rc;

	if (!base)
		return -e->err;
	part->at.path = where ? where->path : ""; /* of the list of mappings as it is now */
	rc = klp_link(m, part->object, &s->p, &part->at, base, &chooser, l, e);
	for (unsigned k = 0; k < KLP_SEG_COUNT && !rc; k++) {
		if (!l->seg[k].size)
			continue;
		rc = klp_remote_map(&s->r, base + l->seg[k].offset, l->seg[k].size, prot[k],
				    KLP_OWNER_PATCH + part->index, e);
		if (rc >= 0) {
			mapped[n++] = (unsigned)rc;
			rc = 0;
		}
	}
	if (rc == -EEXIST || rc == -EFAULT) {
		struct klp_error second = KLP_ERROR_INIT;

		while (n && !klp_remote_unmap(&s->r, mapped[n - 1], &second))
			n--;
		if (n) {
			*e = second;
			return -second.err;
		}
	}
	return rc;
}

/* Maps the part, copies it in and makes its site records. The record is LOADING from before the first mapping on. */
static int klp_part_place(struct klp_session *s, const struct klp_module *m, struct klp_load_part *part,
			  struct klp_error *e)
{
	const struct klp_module_object *mo = &m->object[part->object];
	struct klp_linked *l = &part->linked;
	struct klp_rt_patch *rec = &part->rec;
	uint64_t size, base, *pair;
	int rc = klp_link_measure(m, part->object, 4096, &size, e);

	if (!rc)
		rc = klp_patch_record(s, part->index, rec, e);
	if (!rc)
		rc = klp_shadow_prepare(s, m, &part->at, e);
	if (rc)
		return rc;
	/* The place is where the kernel itself puts new mappings: a program that maps all the time may be faster. */
	for (unsigned n = 0; n < KLP_NEAR_TRIES; n++) {
		struct klp_error refresh = KLP_ERROR_INIT;

		rc = klp_part_map(s, m, part, size, e);
		if (rc && rc != -EEXIST && rc != -EFAULT) /* or a library went while names were looked up */
			return rc;
		if (klp_process_refresh(&s->p, &refresh)) {
			*e = refresh;
			return -refresh.err;
		}
		if (!rc)
			break;
		klp_linked_free(l);
	}
	if (rc)
		return rc;
	base = l->base;
	pair =
	    (uint64_t *)(void *)(l->seg[KLP_SEG_META].bytes + (l->functions_addr - base - l->seg[KLP_SEG_META].offset));
	for (size_t i = 0; i < mo->function_count; i++) {
		rc = klp_site_get(s, &part->at, &mo->function[i], &part->site[i], e);
		if (rc)
			return rc;
		pair[2 * i] = part->site[i].record;
	}
	rc = klp_states_fill(s, m, l, e);
	if (rc)
		return rc;
	for (unsigned k = 0; k < KLP_SEG_COUNT; k++) {
		rc = klp_segment_write(s, l, k, e);
		if (rc)
			return rc;
	}
	rec->base = base;
	rec->len = l->size;
	rec->text = base + l->seg[KLP_SEG_TEXT].offset;
	rec->text_len = l->seg[KLP_SEG_TEXT].size;
	rec->meta = l->meta_addr;
	rec->meta_len = l->meta_len;
	rec->functions = l->functions_addr;
	rec->function_count = mo->function_count;
	rec->eh_frame = l->eh_frame_addr;
	rec->eh_frame_len = l->eh_frame_size;
	rec->names = l->names_addr;
	return klp_patch_record(s, part->index, rec, e);
}

static int klp_state_write(struct klp_session *s, const struct klp_load_part *part, enum klp_patch_state state,
			   struct klp_error *e)
{
	const uint32_t word = state;

	return klp_session_write_cb(s,
				    offsetof(struct klp_rt_cb, patches) + part->index * sizeof(struct klp_rt_patch) +
					offsetof(struct klp_rt_patch, state),
				    &word, sizeof(word), e);
}

static bool klp_has_callbacks(const struct klp_module_object *mo)
{
	for (size_t k = 0; k < KLP_CALLBACK_KINDS; k++)
		if (mo->callback[k])
			return true;
	return false;
}

/*
 * From the first callback on the patch's code has run, and what it has left behind may lead to the module: if the load
 * ends here, memory is given back as it is after an unload. So the records become DISABLED, all before the first one.
 */
static int klp_load_pre_patch(struct klp_session *s, const struct klp_module *m, const struct klp_load_part *part,
			      struct klp_error *e)
{
	bool any = false, ran = false;
	int rc = 0;

	for (size_t i = 0; i < m->object_count; i++)
		any |= klp_has_callbacks(&m->object[i]);
	for (size_t i = 0; i < m->object_count && any && !rc; i++)
		rc = klp_state_write(s, &part[i], KLP_PATCH_DISABLED, e);
	for (size_t i = 0; i < m->object_count && !rc; i++) {
		if (!klp_has_callbacks(&m->object[i]))
			continue;
		rc = klp_callback_stage(s, part[i].index, KLP_CALLBACK_PRE_PATCH, e);
		ran |= !rc && m->object[i].callback[KLP_CALLBACK_PRE_PATCH];
	}
	if (rc == -EDEADLK && e->reason == KLP_NO_CALLBACK_THREAD && !ran) {
		struct klp_error second = KLP_ERROR_INIT;

		for (size_t i = 0; i < m->object_count; i++)
			klp_state_write(s, &part[i], KLP_PATCH_LOADING, &second); /* nothing of it has run */
	}
	return rc;
}

/* Before any code of the module can run: the process's unwinder knows its frames. */
static int klp_load_unwinding(struct klp_session *s, const struct klp_module *m, const struct klp_load_part *part,
			      struct klp_error *e)
{
	bool needs, any = false;
	int rc = klp_module_needs_unwind(m, &needs, e);

	for (size_t i = 0; i < m->object_count && !rc; i++) {
		any |= part[i].linked.fde_count;
		if (part[i].linked.fde_count)
			rc = klp_unwinding_add(s, part[i].index, &part[i].linked, e);
	}
	if (!rc && (any || needs))
		rc = klp_unwinding_hook(s, needs, e);
	return rc;
}

/* A free record for each object, and what is known of the patch before anything is mapped. */
static int klp_load_prepare(struct klp_session *s, const struct klp_module *m,
			    const struct klp_object *const o[KLP_MODULE_MAX_OBJECTS], struct klp_load_part *part,
			    struct klp_error *e)
{
	uint32_t order = 1;
	unsigned index = 0;

	for (size_t i = 0; i < s->patch_count; i++)
		if (s->patch[i].rec.order >= order)
			order = s->patch[i].rec.order + 1;
	for (unsigned i = 0; i < m->object_count; i++) {
		struct klp_rt_patch *rec = &part[i].rec;

		while (index < KLP_MAX_PATCHES && s->cb->patches[index].state != KLP_PATCH_FREE)
			index++;
		if (index == KLP_MAX_PATCHES)
			return klp_fail(e, ENOSPC, KLP_LIMIT, "all %u patch records are in use", KLP_MAX_PATCHES);
		part[i].object = i;
		part[i].at = *o[i];
		part[i].index = index++;
		strcpy(rec->name, m->name); /* klp_applicable_name has checked its length */
		rec->state = KLP_PATCH_LOADING;
		rec->order = order;
		rec->object = i;
		memcpy(rec->digest, m->digest, sizeof(rec->digest));
		rec->bias = o[i]->bias;
		rec->object_start = o[i]->start;
		rec->replace = s->opt.replace;
	}
	return 0;
}

/* Everything up to the transition: the parts are in their places, every site leads to its original. */
static int klp_load_parts(struct klp_session *s, const struct klp_module *m, struct klp_load_part *part,
			  struct klp_armed_site *site, struct klp_error *e)
{
	size_t functions = 0;
	int rc = 0;

	klp_log(s, 0, "enabling patch '%s'", m->name);
	for (size_t i = 0; i < m->object_count && !rc; i++) {
		part[i].site = site + functions;
		functions += m->object[i].function_count;
		rc = klp_part_place(s, m, &part[i], e);
	}
	if (!rc)
		rc = klp_load_unwinding(s, m, part, e);
	for (size_t i = 0; i < m->object_count; i++)
		klp_linked_free(&part[i].linked);
	if (!rc) {
		klp_log(s, 0, "'%s': initializing patching transition", m->name);
		rc = klp_load_pre_patch(s, m, part, e);
	}
	if (!rc)
		rc = klp_sites_arm(s, site, functions, e);
	for (size_t i = 0; i < m->object_count && !rc; i++)
		for (size_t k = 0; k < m->object[i].function_count; k++)
			if (part[i].site[k].site.weak_to_uprobe)
				klp_log(s, 1,
					"%s: its site is the function's first instruction: a uprobe there would bypass "
					"the patch",
					m->object[i].function[k].name);
	return rc;
}

static int klp_load_new(struct klp_session *s, const struct klp_module *m,
			const struct klp_object *const o[KLP_MODULE_MAX_OBJECTS], struct klp_error *e)
{
	struct klp_load_part *part = calloc(m->object_count, sizeof(*part));
	struct klp_armed_site *site = calloc(klp_module_functions(m), sizeof(*site));
	struct klp_patch *p = NULL;
	unsigned first = 0;
	int rc;

	if (!part || !site)
		rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for sites");
	else
		rc = klp_load_prepare(s, m, o, part, e);
	if (!rc)
		rc = klp_load_parts(s, m, part, site, e);
	if (!rc) {
		/* The records are complete now: as ENABLING they are read with their metadata. */
		first = part[0].index;
		for (size_t i = 0; i < m->object_count; i++)
			s->cb->patches[part[i].index].state = KLP_PATCH_ENABLING;
	}
	free(part);
	free(site);
	if (!rc)
		rc = klp_patches_read(s, e);
	for (size_t i = 0; i < s->patch_count && !rc; i++)
		if (s->patch[i].index == first)
			p = &s->patch[i];
	if (!rc && !p)
		rc = klp_fail(e, EINVAL, KLP_INTERNAL, "the new patch is not in the list");
	return rc ? rc : klp_transition_start(s, p, KLP_TRANSITION_LOAD, e);
}

/* Undoes a load that failed, or ends one that was reversed, and gives memory back. *e keeps the first error. */
static void klp_load_tidy(struct klp_session *s, unsigned wait_ms)
{
	struct klp_error second = KLP_ERROR_INIT;
	struct klp_reclaimed done;

	/* What the helper has not answered may begin a transition at any later moment: the next command executes it
	 * first, and tidies up behind it. */
	if (!s->remote_started || klp_remote_owed(&s->r, &second) || klp_session_read_cb(s, &second) ||
	    klp_patches_read(s, &second) || !s->cb || KLP_TR_ACTIVE(s->cb->transition))
		return;
	if (klp_callbacks_run_owed(s, &second)) {
		klp_log(s, 1, "%s", second.text);
		return;
	}
	if (klp_reclaim(s, wait_ms, &done, &second))
		klp_log(s, 1, "memory is kept in the target: %s", second.text);
	else if (done.waiting)
		klp_log(s, 1, "memory is kept in the target: %zu threads could not be seen outside of it",
			done.waiting);
}

static int klp_load_resume(struct klp_session *s, struct klp_patch *p, struct klp_error *e)
{
	int rc = klp_session_start(s, e);

	if (!rc && klp_transition_patch(s) && klp_transition_patch(s)->rec.state == KLP_PATCH_DISABLING)
		rc = klp_transition_reverse(s, e);
	(void)p;
	if (!rc)
		rc = klp_transition_run(s, e);
	return rc ? rc : klp_callbacks_run_owed(s, e);
}

/* What an earlier command could not run any more, or has left running. 1: it ran the last one of the module's patch. */
static int klp_load_owed(struct klp_session *s, const struct klp_module *m, struct klp_error *e)
{
	const struct klp_patch *p = klp_patch_find(s, m->name);
	enum klp_callback kind;
	bool own = false, any = s->cb && s->cb->callback.state;
	int rc;

	for (size_t i = 0; i < s->patch_count; i++) {
		bool owed = klp_callback_owed(&s->patch[i].rec, &kind);

		any |= owed;
		own |= owed && p && klp_patch_same(&s->patch[i], p);
	}
	if (!any)
		return 0;
	rc = klp_session_start(s, e);
	if (!rc)
		rc = klp_callbacks_run_owed(s, e);
	return rc ? rc : own;
}

/*
 * Threads inside the old function stay there, and the next call takes the new one: for patches of one function that
 * stands for itself. In what is replaced, or lies below, they could stay as well, and nobody could unmap it.
 */
static int klp_load_immediate_fits(const struct klp_session *s, const struct klp_module *m, struct klp_error *e)
{
	if (m->coupled)
		return klp_fail(e, EINVAL, KLP_COUPLED,
				"the functions of patch '%s' belong together (it has several, or a clone of one): "
				"--consistency=immediate would mix their versions",
				m->name);
	for (size_t i = 0; i < s->patch_count; i++)
		if (memcmp(s->patch[i].rec.digest, m->digest, sizeof(m->digest)))
			return klp_fail(e, EINVAL, KLP_COUPLED,
					"patch '%s' is in the process: threads could stay inside of it with "
					"--consistency=immediate",
					s->patch[i].rec.name);
	return s->opt.replace ? klp_fail(e, EINVAL, KLP_COUPLED, "--consistency=immediate replaces no patches") : 0;
}

static int klp_load_session(struct klp_session *s, const struct klp_module *m, struct klp_error *e)
{
	const struct klp_object *o[KLP_MODULE_MAX_OBJECTS] = {NULL};
	struct klp_patch *p;
	struct klp_reclaimed done;
	size_t rearmed = 0;
	int owed, rc = klp_applicable_objects(s, m, o, e);

	if (rc)
		return rc;
	rc = klp_applicable_name(m, e);
	if (!rc && s->opt.immediate)
		rc = klp_load_immediate_fits(s, m, e);
	if (rc)
		return rc;
	owed = klp_load_owed(s, m, e);
	if (owed < 0)
		return owed;
	rc = klp_applicable_objects(s, m, o, e); /* the object array may have moved */
	if (rc)
		return rc;
	p = klp_transition_patch(s);
	if (p && memcmp(p->rec.digest, m->digest, sizeof(p->rec.digest)))
		return klp_fail(e, EBUSY, KLP_BUSY, "the transition of patch '%s' is in progress", p->rec.name);
	if (p)
		rc = klp_patch_check_gone(s, p, e);
	if (p)
		return rc ? rc : klp_load_resume(s, p, e);
	p = klp_patch_find(s, m->name);
	if (p && memcmp(p->rec.digest, m->digest, sizeof(p->rec.digest)))
		return klp_fail(e, EEXIST, KLP_EXISTS, "another patch named '%s' is loaded", m->name);
	if (p)
		rc = klp_patch_check_gone(s, p, e);
	if (rc || (p && owed))
		return rc;
	if (p) {
		if (p->rec.state == KLP_PATCH_ENABLED)
			rc = klp_rearm_patch(s, p, &rearmed, e);
		if (rc || rearmed)
			return rc;
		klp_unwinding_late(s);
		klp_fail(e, EEXIST, KLP_EXISTS, "patch '%s' is loaded already", m->name);
		return 1;
	}
	rc = klp_applicable_check(s, m, o, e);
	if (rc)
		return rc;
	rc = klp_session_start(s, e);
	if (!rc && s->patch_count)
		rc = klp_reclaim(s, KLP_TIDY_WAIT_MS, &done, e);
	if (!rc && !s->r.image)
		rc = klp_session_start(s, e); /* it was complete: everything of an earlier patch is gone */
	if (!rc)
		rc = klp_process_refresh(&s->p, e);
	if (!rc)
		rc = klp_applicable_objects(s, m, o, e); /* the object array may have moved */
	if (!rc)
		rc = klp_load_new(s, m, o, e);
	if (!rc)
		rc = klp_transition_run(s, e);
	if (!rc)
		rc = klp_callbacks_run_owed(s, e);
	if (rc && rc != -EAGAIN)
		klp_load_tidy(s, 1000);
	/* Replaced patches are DISABLED now. */
	if (!rc && s->opt.replace)
		klp_load_tidy(s, 1000);
	return rc;
}

int klp_load(pid_t pid, const struct klp_module *m, const struct klp_options *o, json_t **result, struct klp_error *e)
{
	struct klp_session s;
	int rc = klp_session_open(&s, pid, KLP_SESSION_CHANGE, o, e);

	if (!rc)
		rc = klp_load_session(&s, m, e);
	if (result)
		*result = klp_session_result(&s, pid, m->name, klp_module_functions(m), rc, e);
	klp_session_close(&s);
	return rc;
}
