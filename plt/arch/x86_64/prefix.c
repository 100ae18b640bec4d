/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PLT entry of x86_64, at the place where the armed site jumps to:
 *
 *	ENTRY1	entry-8:  ff 25 disp32	jmp *slot(%rip)		then two NOPs, nobody comes there
 *	ENTRY0	entry-6:  ff 25 disp32	jmp *slot(%rip)
 *	ENDBR	entry-5:  e9 rel32	jmp hop			the hop jumps through the slot
 *
 * Only entry and layout of the site are looked at for the place, so a site that was rebuilt from its record gives the
 *same bytes.
 */
#include <errno.h>
#include <string.h>
#include "plt/arch.h"
#include "plt/arch/x86_64/encode.h"

int klp_prefix_encode_x86_64(const struct klp_site *s, uint64_t slot, uint64_t hop, uint8_t out[KLP_PREFIX_MAX],
			     uint64_t *addr, size_t *len, struct klp_error *e)
{
	uint64_t at, target = slot;
	bool direct = false, fits;

	switch (s->layout) {
	case KLP_SITE_X86_ENTRY1:
	case KLP_SITE_X86_ENTRY1_2BYTE:
		at = s->entry - 8;
		break;
	case KLP_SITE_X86_ENTRY0:
	case KLP_SITE_X86_ENTRY0_2BYTE:
		at = s->entry - 6;
		break;
	case KLP_SITE_X86_ENDBR:
	case KLP_SITE_X86_ENDBR_2BYTE:
		at = s->entry - 5;
		target = hop;
		direct = true;
		break;
	case KLP_SITE_NONE:
	default:
		return klp_fail(e, EINVAL, KLP_SITE_UNKNOWN, "the function has no site that a PLT entry could serve");
	}
	if (at < s->prefix || at > s->entry)
		return klp_fail(e, EINVAL, KLP_PREFIX_TOO_SMALL,
				"the PLT entry would begin %llu bytes before the function's prefix",
				(unsigned long long)(s->prefix - at));
	memset(out, 0x90, KLP_PREFIX_MAX);
	fits = direct ? klp_x86_put_rel32(out, KLP_X86_JMP, sizeof(KLP_X86_JMP), at, target)
		      : klp_x86_put_rel32(out, KLP_X86_JMP_MEM, sizeof(KLP_X86_JMP_MEM), at, target);
	if (!fits)
		return klp_fail(e, ERANGE, KLP_NO_ROOM, "0x%llx is more than 2 GiB away from the function at 0x%llx",
				(unsigned long long)target, (unsigned long long)s->entry);
	*addr = at;
	*len = direct ? 5 : 6;
	return 0;
}
