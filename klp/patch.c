/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/patch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "klp/session.h"

#define KLP_META_MAX (16u << 20) /* bytes of metadata that are believed */

const char *klp_patch_state_name(unsigned state)
{
	static const char *const name[KLP_PATCH_STATES] = {"free",    "loading",   "enabling",
							   "enabled", "disabling", "disabled"};

	return state < KLP_PATCH_STATES ? name[state] : "unknown";
}

void klp_patches_free(struct klp_session *s)
{
	for (size_t i = 0; i < s->patch_count; i++) {
		if (s->patch[i].has_meta)
			klp_module_free(&s->patch[i].meta);
		free(s->patch[i].function);
	}
	free(s->patch);
	s->patch = NULL;
	s->patch_count = 0;
}

/* The target's memory is hostile: a record is believed only where it is consistent. */
static int klp_patch_read(struct klp_session *s, struct klp_patch *p, struct klp_error *e)
{
	const struct klp_rt_patch *rec = &p->rec;
	char *text;
	int rc;

	if (rec->state >= KLP_PATCH_STATES || memchr(rec->name, 0, sizeof(rec->name)) == NULL)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "patch record %u of the control block makes no sense",
				p->index);
	if (rec->state == KLP_PATCH_LOADING)
		return 0;
	if (rec->meta_len == 0 || rec->meta_len > KLP_META_MAX || rec->function_count == 0 ||
	    rec->function_count > KLP_MODULE_MAX_FUNCTIONS)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "patch '%s' in the target has impossible sizes",
				rec->name);
	text = malloc((size_t)rec->meta_len);
	p->function = malloc((size_t)rec->function_count * 16);
	if (!text || !p->function) {
		free(text);
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the metadata of patch '%s'", rec->name);
	}
	rc = klp_process_read(&s->p, rec->meta, text, (size_t)rec->meta_len, e);
	if (!rc)
		rc = klp_process_read(&s->p, rec->functions, p->function, (size_t)rec->function_count * 16, e);
	if (!rc) {
		rc = klp_module_parse_meta(text, (size_t)rec->meta_len, &p->meta, e);
		p->has_meta = rc == 0;
	}
	free(text);
	if (rc)
		return rc;
	if (rec->object >= p->meta.object_count || klp_patch_object(p)->function_count != rec->function_count)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY,
				"patch '%s' in the target disagrees with its own metadata", rec->name);
	return 0;
}

int klp_patches_read(struct klp_session *s, struct klp_error *e)
{
	klp_patches_free(s);
	if (!s->cb)
		return 0;
	s->patch = calloc(KLP_MAX_PATCHES, sizeof(*s->patch));
	if (!s->patch)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the patch list");
	for (unsigned i = 0; i < KLP_MAX_PATCHES; i++) {
		struct klp_patch *p = &s->patch[s->patch_count];
		int rc;

		if (s->cb->patches[i].state == KLP_PATCH_FREE)
			continue;
		p->index = i;
		p->rec = s->cb->patches[i];
		s->patch_count++; /* first, so that a failure frees what has been read */
		rc = klp_patch_read(s, p, e);
		if (rc) {
			klp_patches_free(s);
			return rc;
		}
	}
	return 0;
}

static bool klp_patch_in_stack(const struct klp_patch *p)
{
	return p->rec.state >= KLP_PATCH_ENABLING && p->rec.state <= KLP_PATCH_DISABLING;
}

bool klp_patch_is_first(const struct klp_session *s, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (klp_patch_same(&s->patch[k], &s->patch[i]))
			return false;
	return true;
}

struct klp_patch *klp_patch_find(struct klp_session *s, const char *name)
{
	for (size_t i = 0; i < s->patch_count; i++)
		if (klp_patch_in_stack(&s->patch[i]) && !strcmp(s->patch[i].rec.name, name))
			return &s->patch[i];
	return NULL;
}

unsigned klp_patch_stack_order(const struct klp_session *s, const struct klp_patch *p)
{
	unsigned below = 0;

	if (!klp_patch_in_stack(p))
		return 0;
	for (size_t i = 0; i < s->patch_count; i++)
		if (klp_patch_in_stack(&s->patch[i]) && s->patch[i].rec.order < p->rec.order &&
		    klp_patch_is_first(s, i))
			below++;
	return below + 1;
}

uint64_t klp_patch_effective(const struct klp_session *s, uint64_t site_record,
			     bool (*in)(const struct klp_patch *p, const void *ctx), const void *ctx,
			     const struct klp_patch **from)
{
	uint64_t pc = 0;

	*from = NULL;
	for (size_t i = 0; i < s->patch_count; i++) {
		const struct klp_patch *p = &s->patch[i];

		if (!p->function || !in(p, ctx) || (*from && (*from)->rec.order > p->rec.order))
			continue;
		for (size_t k = 0; k < p->rec.function_count; k++) {
			if (p->function[2 * k] == site_record) {
				pc = p->function[2 * k + 1];
				*from = p;
			}
		}
	}
	return pc;
}

void klp_patch_state_op(const struct klp_session *s, const struct klp_patch *p, enum klp_patch_state state,
			struct klp_rt_op *op)
{
	uint64_t addr = s->r.cb + offsetof(struct klp_rt_cb, patches) + p->index * sizeof(struct klp_rt_patch) +
			offsetof(struct klp_rt_patch, state);

	_Static_assert(offsetof(struct klp_rt_patch, state) % 8 == 0, "one aligned store");
	_Static_assert(offsetof(struct klp_rt_patch, order) == offsetof(struct klp_rt_patch, state) + 4,
		       "state and order together");
	klp_op_store(op, addr, (uint64_t)state | (uint64_t)p->rec.order << 32);
}

size_t klp_patch_state_ops(const struct klp_session *s, const struct klp_patch *p, enum klp_patch_state state,
			   struct klp_rt_op *op)
{
	size_t n = 0;

	for (size_t i = 0; i < s->patch_count; i++)
		if (klp_patch_same(&s->patch[i], p))
			klp_patch_state_op(s, &s->patch[i], state, &op[n++]);
	return n;
}
