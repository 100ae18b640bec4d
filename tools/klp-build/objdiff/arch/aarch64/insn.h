/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_OBJDIFF_AARCH64_INSN_H
#define KLP_OBJDIFF_AARCH64_INSN_H

#include "tools/klp-build/objdiff/object.h"

#define A64_NOP 0xd503201fu
#define A64_BTI_C 0xd503245fu

static inline bool a64_is_adr(uint32_t w)
{
	return (w & 0x9f000000u) == 0x10000000u;
}

static inline bool a64_is_adrp(uint32_t w)
{
	return (w & 0x9f000000u) == 0x90000000u;
}

/* add of 12 bits that are not shifted */
static inline bool a64_is_add_imm(uint32_t w)
{
	return (w & 0x7fc00000u) == 0x11000000u;
}

/* b, bl */
static inline bool a64_is_branch26(uint32_t w)
{
	return (w & 0x7c000000u) == 0x14000000u;
}

/* b.cond, cbz, cbnz, and loads of literals */
static inline bool a64_is_branch19(uint32_t w)
{
	return (w & 0xff000000u) == 0x54000000u || (w & 0x7e000000u) == 0x34000000u;
}

/* tbz, tbnz */
static inline bool a64_is_branch14(uint32_t w)
{
	return (w & 0x7e000000u) == 0x36000000u;
}

/* A signed field of `bits` bits at bit `at`. */
static inline uint64_t a64_signed(uint32_t w, unsigned at, unsigned bits)
{
	uint64_t sign = (uint64_t)1 << (bits - 1), field = w >> at & (2 * sign - 1);

	return (field ^ sign) - sign;
}

/* What adr and adrp add, in bytes and in pages. */
static inline uint64_t a64_adr_offset(uint32_t w)
{
	return a64_signed(w, 5, 19) * 4 + (w >> 29 & 3);
}

enum od_use od_aarch64_use(const struct od_sec *s, const struct od_rel *r);
bool od_aarch64_only_loads(const struct od_sec *s, const struct od_rel *r);
bool od_aarch64_own_address(const struct od_sec *s, uint64_t at, struct od_rel *r);
#endif
