/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/rearm.h"

#include <errno.h>
#include <stdlib.h>

#include "klp/transition.h"
#include "klp/vacate.h"

static int klp_rearm_wanted(struct klp_session *s, const struct klp_armed_site *a, struct klp_error *e)
{
	enum klp_site_state state;
	size_t done;
	int rc = klp_site_read_state(s, a, &state, &done, e);

	return rc ? rc : state == KLP_STATE_DORMANT || state == KLP_STATE_PARTIAL;
}

int klp_rearm(struct klp_session *s, struct klp_armed_site **site, size_t sites, size_t *count, struct klp_error *e)
{
	*count = 0;
	for (size_t i = 0; i < sites; i++) {
		struct klp_armed_site *a = site[i];
		char name[600];
		int rc = klp_rearm_wanted(s, a, e);

		if (rc < 0)
			return rc;
		if (!rc)
			continue;
		rc = klp_sites_arm(s, a, 1, e);
		if (rc)
			return rc;
		klp_log(s, 1,
			"the patch site of %s was put back by another tracer, and is armed again: calls went past it "
			"meanwhile",
			klp_function_name(s, a->rt.entry, name, sizeof(name)));
		site[i] = site[*count];
		site[(*count)++] = a;
	}
	return 0;
}

int klp_rearm_proven(struct klp_session *s, struct klp_armed_site **site, size_t sites, const struct klp_range *leave,
		     size_t leave_count, unsigned wait_ms, struct klp_error *e)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	size_t n, waiting = 0;
	int rc = klp_rearm(s, site, sites, &n, e);

	if (!rc && n)
		rc = klp_vacate(s, leave, leave_count, wait_ms, &waiting, e);
	if (!rc && waiting)
		rc = klp_fail(e, EAGAIN, KLP_PENDING,
			      "%zu threads may be in code that was called past a patch site while another tracer held "
			      "it",
			      waiting);
	for (size_t i = 0; i < n && rc; i++)
		klp_sites_disarm(s, site[i], 1, &ignored);
	return rc;
}

int klp_rearm_patch(struct klp_session *s, const struct klp_patch *p, size_t *count, struct klp_error *e)
{
	struct klp_armed_site **site = NULL;
	struct klp_site_set all;
	size_t n = 0;
	int rc = klp_sites_read(s, &all, e);

	*count = 0;
	if (rc)
		return rc;
	site = calloc(all.count + 1, sizeof(struct klp_armed_site *));
	if (!site)
		rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the site list");
	for (size_t i = 0; i < s->patch_count && rc >= 0; i++)
		for (size_t k = 0; klp_patch_same(&s->patch[i], p) && k < s->patch[i].rec.function_count; k++) {
			struct klp_armed_site *a = klp_site_find(&all, s->patch[i].function[2 * k]);

			rc = a && n < all.count ? klp_rearm_wanted(s, a, e) : 0;
			if (rc < 0)
				break;
			if (rc)
				site[n++] = a;
		}
	if (rc >= 0)
		rc = n ? klp_session_start(s, e) : 0;
	if (!rc)
		rc = klp_rearm(s, site, n, count, e);
	free(site);
	klp_site_set_free(&all);
	return rc;
}
