/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct klp_module_function *klp_patch_function(const struct klp_patch *p, size_t k)
{
	return k < klp_patch_object(p)->function_count ? &klp_patch_object(p)->function[k] : NULL;
}

struct klp_plan_sets {
	const struct klp_patch *patch;
	enum klp_transition_kind kind;
	bool replace;
};

static bool klp_in_before(const struct klp_patch *p, const void *ctx)
{
	const struct klp_plan_sets *set = ctx;

	if (klp_patch_same(p, set->patch))
		return set->kind == KLP_TRANSITION_UNLOAD;
	return p->rec.state == KLP_PATCH_ENABLED;
}

static bool klp_in_after(const struct klp_patch *p, const void *ctx)
{
	const struct klp_plan_sets *set = ctx;

	if (klp_patch_same(p, set->patch))
		return set->kind == KLP_TRANSITION_LOAD;
	return p->rec.state == KLP_PATCH_ENABLED && !set->replace;
}

static int klp_plan_leave(struct klp_plan *plan, unsigned universe, uint64_t start, uint64_t end, struct klp_error *e)
{
	struct klp_range *grown;
	size_t n = plan->leave_count[universe];

	for (size_t i = 0; i < n; i++)
		if (plan->leave[universe][i].start == start && plan->leave[universe][i].end == end)
			return 0;
	grown = realloc(plan->leave[universe], (n + 1) * sizeof(*grown));
	if (!grown)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the range list");
	plan->leave[universe] = grown;
	grown[n] = (struct klp_range){start, end};
	plan->leave_count[universe]++;
	return 0;
}

/* The whole text of a patch: its replacements, their cold parts and everything that only they call. */
static int klp_plan_leave_patch(struct klp_plan *plan, unsigned universe, const struct klp_patch *p,
				struct klp_error *e)
{
	return klp_plan_leave(plan, universe, p->rec.text, p->rec.text + p->rec.text_len, e);
}

static int klp_plan_leave_original(struct klp_plan *plan, unsigned universe, const struct klp_patch *owner, size_t k,
				   struct klp_error *e)
{
	const struct klp_module_function *fn = klp_patch_function(owner, k);

	for (size_t i = 0; i < fn->range_count; i++) {
		int rc = klp_plan_leave(plan, universe, owner->rec.bias + fn->range[i].start,
					owner->rec.bias + fn->range[i].end, e);

		if (rc)
			return rc;
	}
	return 0;
}

static int klp_plan_add(struct klp_session *s, struct klp_plan *plan, struct klp_site_set *all,
			const struct klp_patch *owner, size_t k, struct klp_error *e)
{
	const struct klp_plan_sets set = {plan->patch, plan->kind, plan->replace};
	struct klp_armed_site *armed = klp_site_find(all, owner->function[2 * k]);
	struct klp_plan_site *grown, *site;
	int rc = 0;

	if (!armed)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "patch '%s' names a site record that does not exist",
				owner->rec.name);
	for (size_t i = 0; i < plan->count; i++)
		if (plan->site[i].armed.record == armed->record)
			return klp_plan_leave_original(plan, 0, owner, k,
						       e); /* two patches may know different cold parts */
	grown = realloc(plan->site, (plan->count + 1) * sizeof(*grown));
	if (!grown)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the plan");
	plan->site = grown;
	site = &grown[plan->count];
	site->armed = *armed;
	site->pc[0] = klp_patch_effective(s, armed->record, klp_in_before, &set, &site->from[0]);
	site->pc[1] = klp_patch_effective(s, armed->record, klp_in_after, &set, &site->from[1]);
	if (site->from[0] == site->from[1])
		return 0; /* another patch above decides: nothing changes here */
	/* Also where the plan is made of what lies in the target, which may lie: to go on with a transition, or end it.
	 */
	if (plan->count == KLP_PLAN_MAX_SITES)
		return klp_fail(e, E2BIG, KLP_LIMIT, "more than %u functions change at once", KLP_PLAN_MAX_SITES);
	plan->count++;
	for (unsigned u = 0; u < 2 && !rc; u++) {
		if (!site->from[u])
			site->pc[u] = armed->rt.original;
		else
			rc = klp_plan_leave_patch(plan, u, site->from[u], e);
		/* Also between two patches: the lower one may have come with --consistency=immediate, and threads have
		 * stayed in the original. */
		if (!rc && (!site->from[u] || site->from[!u]))
			rc = klp_plan_leave_original(plan, u, owner, k, e);
	}
	return rc;
}

/* A record for each object: a transition of a part of a patch would mix it with the rest's originals. */
static int klp_plan_check_whole(const struct klp_session *s, const struct klp_patch *p, struct klp_error *e)
{
	bool seen[KLP_MODULE_MAX_OBJECTS] = {false}, whole = true;
	size_t count = 0;

	for (size_t i = 0; i < s->patch_count; i++) {
		const struct klp_patch *part = &s->patch[i];

		if (!klp_patch_same(part, p))
			continue;
		/* A child that is forked between the stores of a request may find them in different states. */
		whole &= part->has_meta && part->rec.object < p->meta.object_count &&
			 !memcmp(part->rec.digest, p->rec.digest, sizeof(p->rec.digest)) && !seen[part->rec.object];
		if (!whole)
			break;
		seen[part->rec.object] = true;
		count++;
	}
	return whole && count == p->meta.object_count
		   ? 0
		   : klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "patch '%s' in the target has not a record for each object",
			      p->rec.name);
}

int klp_plan_make(struct klp_session *s, struct klp_patch *p, enum klp_transition_kind kind, struct klp_plan *out,
		  struct klp_error *e)
{
	struct klp_site_set all;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = klp_plan_check_whole(s, p, e);
	if (!rc)
		rc = klp_sites_read(s, &all, e);
	if (rc)
		return rc;
	out->patch = p;
	out->kind = kind;
	out->replace = kind == KLP_TRANSITION_LOAD && p->rec.replace;
	for (size_t i = 0; i < s->patch_count && !rc; i++) {
		const struct klp_patch *part = &s->patch[i];

		for (size_t k = 0; klp_patch_same(part, p) && k < part->rec.function_count && !rc; k++)
			rc = klp_plan_add(s, out, &all, part, k, e);
	}
	for (size_t i = 0; out->replace && i < s->patch_count && !rc; i++) {
		const struct klp_patch *other = &s->patch[i];

		if (klp_patch_same(other, p) || other->rec.state != KLP_PATCH_ENABLED)
			continue;
		rc = klp_plan_leave_patch(out, 0, other, e);
		for (size_t k = 0; k < other->rec.function_count && !rc; k++)
			rc = klp_plan_add(s, out, &all, other, k, e);
	}
	for (size_t i = 0; i < s->patch_count && !rc; i++)
		if (klp_patch_same(&s->patch[i], p))
			rc = klp_plan_leave_patch(out, kind == KLP_TRANSITION_LOAD ? 1 : 0, &s->patch[i], e);
	klp_site_set_free(&all);
	if (rc)
		klp_plan_free(out);
	return rc;
}

void klp_plan_free(struct klp_plan *plan)
{
	free(plan->site);
	free(plan->leave[0]);
	free(plan->leave[1]);
	memset(plan, 0, sizeof(*plan));
}
