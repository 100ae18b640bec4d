/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/reclaim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "klp/arming.h"
#include "klp/callbacks.h"
#include "klp/shadow.h"
#include "klp/unwinding.h"
#include "klp/vacate.h"

#define KLP_REMOVE_WAIT_MS 2000u /* search for a thread to borrow for the last munmap */

static bool klp_patch_is_garbage(const struct klp_patch *p)
{
	enum klp_callback kind;

	if (klp_callback_owed(&p->rec, &kind)) /* its post_unpatch comes first */
		return false;
	if (p->rec.state == KLP_PATCH_LOADING)
		return true;
	return p->rec.state == KLP_PATCH_DISABLED && !p->rec.forced && json_array_size(p->meta.escapes) == 0;
}

static bool klp_site_is_used(const struct klp_session *s, uint64_t record)
{
	for (size_t i = 0; i < s->patch_count; i++) {
		const struct klp_patch *p = &s->patch[i];

		if (p->rec.state == KLP_PATCH_LOADING || p->rec.state == KLP_PATCH_DISABLED)
			continue;
		for (size_t k = 0; k < p->rec.function_count; k++)
			if (p->function[2 * k] == record)
				return true;
	}
	return false;
}

/* Unmaps everything that belongs to `owner` and frees the record that describes it, in one request. */
static int klp_owner_unmap(struct klp_session *s, uint32_t owner, const struct klp_patch *p, struct klp_error *e)
{
	struct klp_rt_op op[KLP_MAX_MAPS + 3];
	size_t n = 0;
	int rc;

	/* LOADING first: a tool that is killed now leaves a record that is not read any further than its name. */
	if (p) {
		klp_patch_state_op(s, p, KLP_PATCH_LOADING, &op[n++]);
		klp_unwinding_remove_op(s, p->index, &op[n++]);
	}
	for (unsigned i = 0; i < KLP_MAX_MAPS; i++)
		if (s->cb->maps[i].live && s->cb->maps[i].owner == owner)
			op[n++] = (struct klp_rt_op){.code = KLP_OP_UNMAP, .a = {i}};
	if (p)
		klp_patch_state_op(s, p, KLP_PATCH_FREE, &op[n++]);
	if (!n)
		return 0;
	rc = klp_remote_run(&s->r, op, n, e);
	for (size_t i = 0; i < n && !rc; i++)
		if (op[i].code == KLP_OP_UNMAP && op[i].result < 0)
			rc = klp_fail(e, (int)-op[i].result, KLP_HELPER, "munmap in the target failed: %s",
				      strerror((int)-op[i].result));
	return rc;
}

static int klp_arenas_free(struct klp_session *s, struct klp_error *e)
{
	struct klp_site_set left;
	int rc = klp_sites_read(s, &left, e);

	for (unsigned i = 0; i < KLP_MAX_ARENAS && !rc; i++) {
		uint64_t none = 0;
		bool used = false;

		for (size_t k = 0; k < left.count; k++)
			used |= left.site[k].arena == i;
		if (used)
			continue;
		if (s->cb->arenas[i])
			rc = klp_session_write_cb(s, offsetof(struct klp_rt_cb, arenas) + i * 8, &none, 8, e);
		if (!rc)
			rc = klp_owner_unmap(s, KLP_OWNER_ARENA + i, NULL, e);
	}
	klp_site_set_free(&left);
	return rc;
}

/* Slots of sites that nobody uses lead to the original body; only a tool killed at a bad moment can have left another
 * value. */
static int klp_slots_reset(struct klp_session *s, const struct klp_armed_site *site, size_t count, struct klp_error *e)
{
	for (size_t i = 0; i < count; i++) {
		struct klp_rt_op op[2];
		int rc;

		if (site[i].rt.slot == site[i].rt.original)
			continue;
		klp_op_store(&op[0], site[i].record + offsetof(struct klp_rt_site, slot), site[i].rt.original);
		klp_op_sync(&op[1]);
		rc = klp_remote_run(&s->r, op, 2, e);
		if (rc)
			return rc;
	}
	return 0;
}

int klp_reclaim(struct klp_session *s, unsigned wait_ms, struct klp_reclaimed *out, struct klp_error *e)
{
	struct klp_site_set all;
	struct klp_range *range = NULL;
	size_t unused = 0, ranges = 0, kept = 0;
	bool sweep = false;
	int rc;

	memset(out, 0, sizeof(*out));
	if (KLP_TR_ACTIVE(s->cb->transition))
		return klp_fail(e, EBUSY, KLP_BUSY, "a transition is in flight");
	rc = klp_sites_read(s, &all, e);
	if (rc)
		return rc;
	for (size_t i = 0; i < all.count; i++)
		if (!klp_site_is_used(s, all.site[i].record))
			all.site[unused++] = all.site[i];
	range = calloc(s->patch_count + 1, sizeof(*range));
	if (!range) {
		rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the range list");
		goto out;
	}
	for (size_t i = 0; i < s->patch_count; i++) {
		const struct klp_patch *p = &s->patch[i];

		if (!klp_patch_is_garbage(p)) {
			kept += p->rec.state != KLP_PATCH_DISABLED;
			out->pinned += p->rec.state == KLP_PATCH_DISABLED && klp_patch_is_first(s, i);
		} else if (p->rec.state == KLP_PATCH_DISABLED) {
			range[ranges++] = (struct klp_range){p->rec.text, p->rec.text + p->rec.text_len};
			sweep = true;
		}
	}
	if (unused) {
		sweep = true;
		rc = klp_slots_reset(s, all.site, unused, e);
		if (!rc)
			rc = klp_sites_disarm(s, all.site, unused, e);
		if (rc)
			goto out;
	}
	if (sweep) {
		rc = klp_vacate(s, range, ranges, wait_ms, &out->waiting, e);
		if (rc || out->waiting)
			goto out;
	}
	rc = klp_sites_forget(s, all.site, unused, e);
	for (size_t i = 0; i < s->patch_count && !rc; i++) {
		if (!klp_patch_is_garbage(&s->patch[i]))
			continue;
		rc = klp_owner_unmap(s, KLP_OWNER_PATCH + s->patch[i].index, &s->patch[i], e);
		out->patches++;
	}
	if (!rc)
		rc = klp_session_read_cb(s, e);
	if (!rc)
		rc = klp_arenas_free(s, e);
	if (!rc)
		rc = klp_session_read_cb(s, e);
	if (!rc)
		rc = klp_patches_read(s, e);
	if (!rc && !kept && !out->pinned && s->patch_count == 0) {
		struct klp_error last = KLP_ERROR_INIT;

		rc = klp_shadow_count(s, &out->shadow, e);
		if (!rc && !out->shadow)
			rc = klp_shadow_drop(s, e);
		if (rc || out->shadow)
			goto out;
		/* No module is there any more, so no frame of one: the process's unwinder may forget klp. */
		rc = klp_unwinding_unhook(s, &sweep, e);
		if (!rc && sweep)
			rc = klp_vacate(s, NULL, 0, wait_ms, &out->waiting, e);
		if (rc || out->waiting)
			goto out;
		rc = klp_remote_stop(&s->r, e);
		if (!rc && !klp_remote_remove(&s->r, KLP_REMOVE_WAIT_MS, &last)) {
			out->complete = true;
			s->remote_started = false;
			rc = klp_session_read_cb(s, e);
		} else if (!rc) {
			klp_log(s, 1, "the runtime stays in the target: %s", last.text);
		}
	}
out:
	free(range);
	klp_site_set_free(&all);
	return rc;
}
