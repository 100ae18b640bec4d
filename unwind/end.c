/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends by identity (invariant U2): the FDE of the executable's entry point, and of the C library's thread start. Both
 * must also say that the return address is undefined; that alone is no end, because coroutines have it as well.
 */
#include "unwind/internal.h"

static bool klp_unw_ra_undefined(const struct klp_unw_arch *arch, const struct klp_unw_image *im,
				 const struct klp_unw_fde *f)
{
	struct klp_unw_entry entry;
	struct klp_unw_row row;

	return !klp_unw_parse_fde(im, f->offset, &entry) &&
	       klp_unw_run_cfa(arch, im, &entry, f->end - 1, &row) == KLP_OK &&
	       row.rule[arch->ra].kind == KLP_UNW_RULE_UNDEFINED;
}

void klp_unw_find_ends(const struct klp_unw_arch *arch, struct klp_unw_image *im, const struct klp_unw_object *o)
{
	for (size_t i = 0; i < im->fde_count; i++) {
		struct klp_unw_fde *f = &im->fde[i];

		if (o->entry && o->entry >= f->start && o->entry < f->end)
			f->end_kind = KLP_UNW_END_MAIN;
		else if (o->libc && o->text && klp_unw_ra_undefined(arch, im, f) &&
			 arch->thread_start(o->text, o->text_len, o->text_start, f->start, f->end))
			f->end_kind = KLP_UNW_END_THREAD;
	}
}
