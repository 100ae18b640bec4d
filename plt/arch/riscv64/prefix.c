/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PLT entry of riscv64, at the place where the armed site jumps to. t1 is the register that a PLT entry of the
 * static linker's changes as well; no function finds anything in it (RISC-V ELF psABI, "Program Linkage Table"). t0 and
 *ra are link registers, t2 is the static chain: none of them is touched.
 *
 *	near	P:     auipc t1, slot		where the slot is within 2 GiB: 12 bytes, P is entry-12
 *		P+4:   ld    t1, slot(t1)
 *		P+8:   jr    t1
 *
 *	far	P:     auipc t1, 0		24 bytes, P is entry-24
 *		P+4:   ld    t1, 16(t1)		the literal is the hop's address, and never changes
 *		P+8:   jr    t1
 *		P+12:  ebreak
 *		P+16: .quad  hop
 *
 * Behind a site of two bytes both begin at entry-64, where c.j reaches them.
 *
 * Only entry, prefix and layout of the site are looked at for the place, so a site that was rebuilt from its record
 * gives the same bytes.
 */
#include <errno.h>
#include <string.h>
#include "plt/arch.h"
#include "plt/arch/riscv64/encode.h"

#define NEAR_LEN 12u
#define FAR_LEN 24u
#define LITERAL 16u
#define SHORT_PREFIX 64u /* patchsite/arch/riscv64/site.c */

_Static_assert(FAR_LEN <= KLP_PREFIX_MAX, "the largest PLT entry");

int klp_prefix_encode_riscv64(const struct klp_site *s, uint64_t slot, uint64_t hop, uint8_t out[KLP_PREFIX_MAX],
			      uint64_t *addr, size_t *len, struct klp_error *e)
{
	bool is_short = s->layout == KLP_SITE_RV_CNOP;
	uint64_t room = s->entry - s->prefix, before = is_short ? SHORT_PREFIX : NEAR_LEN;

	if (s->layout != KLP_SITE_RV_NOP && !is_short)
		return klp_fail(e, EINVAL, KLP_SITE_UNKNOWN, "the function has no site that a PLT entry could serve");
	if (s->prefix > s->entry || room < before)
		return klp_fail(e, EINVAL, KLP_PREFIX_TOO_SMALL,
				"the function's prefix has %llu bytes, its PLT entry needs %llu",
				(unsigned long long)room, (unsigned long long)before);
	memset(out, 0, KLP_PREFIX_MAX);
	*addr = s->entry - before;
	*len = NEAR_LEN;
	if (!klp_rv_put_load(out, KLP_RV_T1, *addr, slot)) {
		before = is_short ? SHORT_PREFIX : FAR_LEN;
		if (room < before)
			return klp_fail(e, ERANGE, KLP_NO_ROOM,
					"0x%llx is more than 2 GiB away from the function at 0x%llx, whose prefix of "
					"%llu bytes holds no address",
					(unsigned long long)slot, (unsigned long long)s->entry,
					(unsigned long long)room);
		*addr = s->entry - before;
		*len = FAR_LEN;
		klp_rv_put_load(out, KLP_RV_T1, *addr, *addr + LITERAL);
		klp_insn_put32(out + 12, KLP_RV_EBREAK);
		for (unsigned i = 0; i < 8; i++)
			out[LITERAL + i] = (uint8_t)(hop >> (8 * i));
	}
	klp_rv_put_jalr(out + 8, KLP_RV_ZERO, KLP_RV_T1, 0);
	return 0;
}
