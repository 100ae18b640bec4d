/* SPDX-License-Identifier: Apache-2.0 */
/* The objects and special ranges of one address space, and the rows that were decoded already. */
#include "unwind/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KLP_UNW_MAX_OBJECTS 65536

static const struct klp_unw_arch *const klp_unw_archs[] = {&klp_unw_x86_64, &klp_unw_aarch64, &klp_unw_riscv64};

struct klp_unw_space *klp_unw_space_new(unsigned arch)
{
	const struct klp_unw_arch *found = NULL;
	struct klp_unw_space *s;

	for (size_t i = 0; i < sizeof(klp_unw_archs) / sizeof(klp_unw_archs[0]); i++)
		if (klp_unw_archs[i]->machine == arch)
			found = klp_unw_archs[i];
	if (!found)
		return NULL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->arch = found;
	s->cache = calloc(KLP_UNW_CACHE_ROWS, sizeof(*s->cache));
	if (!s->cache) {
		free(s);
		return NULL;
	}
	return s;
}

static void klp_unw_free_image(struct klp_unw_image *im)
{
	free(im->eh_frame);
	free(im->fde);
}

void klp_unw_space_free(struct klp_unw_space *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->image_count; i++)
		klp_unw_free_image(&s->image[i]);
	free(s->image);
	free(s->span);
	free(s->cache);
	free(s);
}

int klp_unw_add_object(struct klp_unw_space *s, const struct klp_unw_object *o, struct klp_error *e)
{
	const char *name = o->name ? o->name : "an object";
	struct klp_unw_image im = {
	    .text_start = o->text_start,
	    .text_end = o->text_end,
	    .eh_frame_len = o->eh_frame ? o->eh_frame_len : 0,
	    .eh_frame_addr = o->eh_frame_addr,
	    .hdr_addr = o->eh_frame_hdr ? o->eh_frame_hdr_addr : 0,
	};
	struct klp_unw_image *grown;
	int rc;

	if (o->text_start >= o->text_end)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "%s has no text to unwind", name);
	if (o->eh_frame_addr + im.eh_frame_len < o->eh_frame_addr)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "the unwind tables of %s wrap around", name);
	if (o->text && o->text_len != o->text_end - o->text_start)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "the text of %s has not the size of its range", name);
	for (size_t i = 0; i < s->image_count; i++)
		if (o->text_start < s->image[i].text_end && s->image[i].text_start < o->text_end)
			return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "%s overlaps another object", name);
	if (s->image_count == KLP_UNW_MAX_OBJECTS)
		return klp_fail(e, ENOSPC, KLP_LIMIT, "more than %d objects to unwind", KLP_UNW_MAX_OBJECTS);
	if (im.eh_frame_len) {
		im.eh_frame = malloc(im.eh_frame_len);
		if (!im.eh_frame)
			return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the unwind tables of %s", name);
		memcpy(im.eh_frame, o->eh_frame, im.eh_frame_len);
		rc = klp_unw_build_index(&im, o->eh_frame_hdr, o->eh_frame_hdr_len, e);
		if (rc) {
			klp_unw_free_image(&im);
			return rc;
		}
		klp_unw_find_ends(s->arch, &im, o);
		klp_unw_find_leaf(s->arch, &im, o);
	}
	grown = realloc(s->image, (s->image_count + 1) * sizeof(*grown));
	if (!grown) {
		klp_unw_free_image(&im);
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the unwind tables of %s", name);
	}
	s->image = grown;
	s->image[s->image_count] = im;
	memset(s->cache, 0, KLP_UNW_CACHE_ROWS * sizeof(*s->cache));
	return (int)s->image_count++;
}

int klp_unw_add_range(struct klp_unw_space *s, uint64_t start, uint64_t end, enum klp_unw_range_kind kind,
		      struct klp_error *e)
{
	struct klp_unw_span *grown;

	if (start >= end)
		return klp_fail(e, EINVAL, KLP_USAGE, "an empty range cannot be registered");
	grown = realloc(s->span, (s->span_count + 1) * sizeof(*grown));
	if (!grown)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for a range");
	s->span = grown;
	s->span[s->span_count++] = (struct klp_unw_span){start, end, kind};
	return 0;
}

static int klp_unw_find_image(const struct klp_unw_space *s, uint64_t lookup)
{
	for (size_t i = 0; i < s->image_count; i++)
		if (lookup >= s->image[i].text_start && lookup < s->image[i].text_end)
			return (int)i;
	return -1;
}

bool klp_unw_is_end(const struct klp_unw_space *s, uint64_t lookup)
{
	int i = klp_unw_find_image(s, lookup);
	const struct klp_unw_fde *f = i < 0 ? NULL : klp_unw_find_fde(&s->image[i], lookup);

	return f && f->end_kind != KLP_UNW_END_NONE;
}

const struct klp_unw_cached *klp_unw_find_row(const struct klp_unw_space *s, uint64_t lookup)
{
	struct klp_unw_cached *c = &s->cache[(lookup * 0x9e3779b97f4a7c15u >> 32) & (KLP_UNW_CACHE_ROWS - 1)];
	struct klp_unw_entry entry;

	if (c->lookup == lookup && lookup)
		return c;
	memset(c, 0, sizeof(*c));
	c->lookup = lookup;
	c->object = klp_unw_find_image(s, lookup);
	if (c->object < 0) {
		c->reason = KLP_UNW_NO_MODULE;
		return c;
	}
	c->fde = klp_unw_find_fde(&s->image[c->object], lookup);
	if (!c->fde)
		c->reason = KLP_UNW_NO_ROW;
	else if (c->fde->overlaps || klp_unw_parse_fde(&s->image[c->object], c->fde->offset, &entry))
		c->reason = KLP_UNW_BAD_ROW;
	else
		c->reason = klp_unw_run_cfa(s->arch, &s->image[c->object], &entry, lookup, &c->row);
	return c;
}
