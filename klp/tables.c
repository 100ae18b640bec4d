/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unwinder's tables of one target: every ELF image that is mapped, read from the target's own memory (so that deleted, replaced
 * and hidden files, chroots and the vDSO make no difference), the loaded modules, and the ranges where a trace must be refused.
 */
#include "klp/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "klp/arming.h"
#include "unwind/image.h"

#define KLP_EH_FRAME_MAX (64u << 20)

static int klp_tables_reader(void *ctx, uint64_t addr, void *buf, size_t len)
{
	struct klp_error ignored = KLP_ERROR_INIT;

	return klp_process_read(ctx, addr, buf, len, &ignored);
}

void klp_tables_free(struct klp_session *s)
{
	klp_unw_space_free(s->space);
	s->space = NULL;
}

static int klp_tables_add_image(struct klp_session *s, const struct klp_object *o, struct klp_error *e)
{
	struct klp_unw_object u = {.name = o->path, .libc = o->libc};
	void *storage = NULL;
	int rc = klp_unw_object_from_memory(o->start, klp_tables_reader, &s->p, &u, &storage, e);

	/* An image that makes no sense is left out: every PC in it is then NO_MODULE, which is never taken for clean. */
	if (rc)
		return rc == -ENOMEM ? rc : 0;
	u.name = o->path;
	u.entry = o->main ? o->entry : 0;
	rc = klp_unw_add_object(s->space, &u, e);
	free(storage);
	return rc == -ENOMEM ? rc : 0;
}

/* reserved[0..1] of the record: address and size of the module's linked .eh_frame. */
static int klp_tables_add_module(struct klp_session *s, const struct klp_patch *p, struct klp_error *e)
{
	struct klp_unw_object u = {
		.name = p->rec.name,
		.text_start = p->rec.text,
		.text_end = p->rec.text + p->rec.text_len,
	};
	void *frames = NULL;
	int rc;

	if (p->rec.state == KLP_PATCH_LOADING || !p->rec.text_len)
		return 0;
	if (p->rec.reserved[1] && p->rec.reserved[1] <= KLP_EH_FRAME_MAX) {
		frames = malloc((size_t)p->rec.reserved[1]);
		if (!frames)
			return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for unwind tables");
		rc = klp_process_read(&s->p, p->rec.reserved[0], frames, (size_t)p->rec.reserved[1], e);
		if (rc) {
			free(frames);
			return rc;
		}
		u.eh_frame = frames;
		u.eh_frame_len = (size_t)p->rec.reserved[1];
		u.eh_frame_addr = p->rec.reserved[0];
	}
	rc = klp_unw_add_object(s->space, &u, e);
	free(frames);
	return rc < 0 ? rc : 0;
}

int klp_tables_build(struct klp_session *s, struct klp_error *e)
{
	struct klp_site_set sites = {0};
	int rc = 0;

	klp_tables_free(s);
	s->space = klp_unw_space_new(s->p.machine);
	if (!s->space)
		return klp_fail(e, ENOTSUP, KLP_WRONG_ARCH, "no unwinder for machine %u", s->p.machine);
	for (size_t i = 0; i < s->p.object_count && !rc; i++)
		rc = klp_tables_add_image(s, &s->p.object[i], e);
	for (size_t i = 0; i < s->patch_count && !rc; i++)
		rc = klp_tables_add_module(s, &s->patch[i], e);
	if (rc >= 0 && s->r.image)
		rc = klp_unw_add_range(s->space, s->r.image, s->r.image + KLP_RT_TEXT_SIZE, KLP_UNW_RANGE_TRAMPOLINE, e);
	for (unsigned i = 0; s->cb && i < KLP_MAX_ARENAS && !rc; i++)
		if (s->cb->arenas[i])
			rc = klp_unw_add_range(s->space, s->cb->arenas[i] - KLP_ARENA_STUBS_SIZE, s->cb->arenas[i],
						  KLP_UNW_RANGE_TRAMPOLINE, e);
	if (rc >= 0)
		rc = klp_sites_read(s, &sites, e);
	for (size_t i = 0; i < sites.count && !rc; i++)
		rc = klp_unw_add_range(s->space, sites.site[i].rt.prefix, sites.site[i].rt.entry, KLP_UNW_RANGE_PREFIX, e);
	klp_site_set_free(&sites);
	return rc < 0 ? rc : 0;
}
