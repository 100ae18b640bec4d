/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/gone.h"

#include <errno.h>
#include <string.h>

#include "klp/plan.h"
#include "plt/plt.h"

/* Is the object that this patch was loaded for still where it was? */
bool klp_patch_object_is_there(const struct klp_session *s, const struct klp_patch *p)
{
	const struct klp_module_object *mo = klp_patch_object(p);

	for (size_t i = 0; i < s->p.object_count; i++) {
		const struct klp_object *o = &s->p.object[i];

		if (o->bias == p->rec.bias && o->build_id_len == mo->build_id_len &&
		    !memcmp(o->build_id, mo->build_id, mo->build_id_len))
			return true;
	}
	return false;
}

/* A patch that was unloaded and stays in memory names records that may be other sites' by now. */
static bool klp_patch_names_site(const struct klp_patch *p, const struct klp_armed_site *a)
{
	for (size_t k = 0; p->function && k < p->rec.function_count; k++)
		if (p->function[2 * k] == a->record && p->rec.bias + klp_patch_function(p, k)->address == a->rt.entry)
			return true;
	return false;
}

/*
 * Only what is seen at the place itself makes it gone: as long as klp's PLT entry is in the prefix, or nothing can be
 * read there, the site is taken for one that calls may go through.
 */
bool klp_site_is_gone(struct klp_session *s, const struct klp_armed_site *a)
{
	uint8_t want[KLP_PREFIX_MAX], now[KLP_PREFIX_MAX];
	struct klp_error ignored = KLP_ERROR_INIT;
	bool named = false, there = false, armed = false;
	uint64_t at;
	size_t len;

	if (a->fresh)
		return false;
	if (!klp_process_mapping(&s->p, a->rt.entry))
		return true;
	if (klp_prefix_encode(s->p.machine, &a->site, a->record, a->rt.stub + KLP_HOP_OFFSET, want, &at, &len,
			      &ignored) ||
	    at != a->rt.prefix || len != a->rt.prefix_len || klp_process_read(&s->p, at, now, len, &ignored) ||
	    !memcmp(now, want, len))
		return false;
	for (size_t i = 0; i < s->patch_count; i++) {
		const struct klp_patch *p = &s->patch[i];

		if (!p->has_meta || !klp_patch_names_site(p, a))
			continue;
		named = true;
		there |= klp_patch_object_is_there(s, p);
		armed |= p->rec.state == KLP_PATCH_ENABLING || p->rec.state == KLP_PATCH_ENABLED ||
			 p->rec.state == KLP_PATCH_DISABLING;
	}
	if (named && !there)
		return true;
	/* The file's own bytes, where klp's have been: it was mapped anew, at the same place. */
	return armed && !memcmp(now, a->rt.prefix_old, len);
}

int klp_patch_check_gone(struct klp_session *s, const struct klp_patch *p, struct klp_error *e)
{
	struct klp_site_set sites;
	int rc = klp_sites_read(s, &sites, e);

	for (size_t i = 0; i < s->patch_count && !rc; i++) {
		const struct klp_patch *part = &s->patch[i];

		if (!klp_patch_same(part, p) || !part->has_meta)
			continue;
		for (size_t k = 0; k < part->rec.function_count && !rc; k++) {
			const struct klp_armed_site *a = klp_site_find(&sites, part->function[2 * k]);

			if (a && klp_site_is_gone(s, a))
				rc = klp_fail(e, EEXIST, KLP_EXISTS,
					      "patch '%s' is loaded for a mapping of %s that the program has closed: "
					      "unload it first",
					      part->rec.name, klp_patch_object(part)->name);
		}
	}
	klp_site_set_free(&sites);
	return rc;
}
