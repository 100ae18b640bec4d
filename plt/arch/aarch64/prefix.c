/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PLT entry of aarch64, at the place where the armed site jumps to. x16 is the linker's register at a function's
 * entry (AAPCS64, IP0), and a `br x16` may arrive at a `bti c`.
 *
 *	near	entry-12:  adrp x16, slot		where the slot is within 4 GiB: three NOPs (5,3) are enough
 *		entry-8:   ldr  x16, [x16, #slot]
 *		entry-4:   br   x16
 *
 *	far	entry-16:  ldr  x16, entry-8		the literal is the hop's address, and never changes
 *		entry-12:  br   x16
 *		entry-8:   .quad hop
 *
 * Only entry, prefix and layout of the site are looked at for the place, so a site that was rebuilt from its record
 * gives the same bytes.
 */
#include <errno.h>
#include <string.h>
#include "plt/arch.h"
#include "plt/arch/aarch64/encode.h"

#define NEAR_LEN 12u
#define FAR_LEN 16u
#define X16 16u

int klp_prefix_encode_aarch64(const struct klp_site *s, uint64_t slot, uint64_t hop, uint8_t out[KLP_PREFIX_MAX],
			      uint64_t *addr, size_t *len, struct klp_error *e)
{
	uint64_t at = s->entry - NEAR_LEN;

	if (s->layout != KLP_SITE_A64_NOP && s->layout != KLP_SITE_A64_BTI)
		return klp_fail(e, EINVAL, KLP_SITE_UNKNOWN, "the function has no site that a PLT entry could serve");
	if (s->prefix > s->entry || s->entry - s->prefix < NEAR_LEN)
		return klp_fail(e, EINVAL, KLP_PREFIX_TOO_SMALL,
				"the function's prefix has %llu bytes, its PLT entry needs %u",
				(unsigned long long)(s->entry - s->prefix), NEAR_LEN);
	memset(out, 0, KLP_PREFIX_MAX);
	if (klp_a64_put_adrp(out, X16, at, slot) && klp_a64_put_ldr_low(out + 4, X16, X16, slot)) {
		klp_a64_put(out + 8, KLP_A64_BR_X16);
		*addr = at;
		*len = NEAR_LEN;
		return 0;
	}
	if (s->entry - s->prefix < FAR_LEN)
		return klp_fail(
		    e, ERANGE, KLP_NO_ROOM,
		    "0x%llx is more than 4 GiB away from the function at 0x%llx, whose prefix of %llu bytes "
		    "holds no address",
		    (unsigned long long)slot, (unsigned long long)s->entry, (unsigned long long)(s->entry - s->prefix));
	at = s->entry - FAR_LEN;
	klp_a64_put_ldr_literal(out, X16, at, at + 8);
	klp_a64_put(out + 4, KLP_A64_BR_X16);
	for (unsigned i = 0; i < 8; i++)
		out[8 + i] = (uint8_t)(hop >> (8 * i));
	*addr = at;
	*len = FAR_LEN;
	return 0;
}
