/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends by identity (invariant U2): the FDE of the executable's entry point, and of the C library's thread start. Both
 * must also say that the return address is undefined; that alone is no end, because coroutines have it as well.
 */
#include "unwind/internal.h"

#define DW_CFA_undefined 0x07

/* Whether instructions could say "the return address is undefined" at all: a look at the bytes, for a C library has
 * thousands of FDEs and a handful that do. A longer encoding of the number is not found: then it is no end. */
static bool klp_unw_says_undefined(const struct klp_unw_arch *arch, const struct klp_unw_image *im, size_t at,
				   size_t end)
{
	for (; at + 1 < end; at++)
		if (im->eh_frame[at] == DW_CFA_undefined && im->eh_frame[at + 1] == arch->ra)
			return true;
	return false;
}

static bool klp_unw_ra_undefined(const struct klp_unw_arch *arch, const struct klp_unw_image *im,
				 const struct klp_unw_fde *f, struct klp_unw_entry *entry, size_t *known)
{
	struct klp_unw_row row;

	return !klp_unw_parse_next(im, f->offset, entry, known) &&
	       (klp_unw_says_undefined(arch, im, entry->insn, entry->insn_end) ||
		klp_unw_says_undefined(arch, im, entry->cie.insn, entry->cie.insn_end)) &&
	       klp_unw_run_cfa(arch, im, entry, f->end - 1, &row) == KLP_OK &&
	       row.rule[arch->ra].kind == KLP_UNW_RULE_UNDEFINED;
}

void klp_unw_find_ends(const struct klp_unw_arch *arch, struct klp_unw_image *im, const struct klp_unw_object *o)
{
	struct klp_unw_entry entry;
	size_t known = SIZE_MAX;

	for (size_t i = 0; i < im->fde_count; i++) {
		struct klp_unw_fde *f = &im->fde[i];

		if (o->entry && o->entry >= f->start && o->entry < f->end)
			f->end_kind = KLP_UNW_END_MAIN;
		else if (o->libc && o->text && klp_unw_ra_undefined(arch, im, f, &entry, &known) &&
			 arch->thread_start(o->text, o->text_len, o->text_start, f->start, f->end))
			f->end_kind = KLP_UNW_END_THREAD;
	}
}
