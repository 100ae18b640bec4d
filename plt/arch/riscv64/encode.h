/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions of RV64 with an immediate operand that klp writes; none of them is compressed. */
#ifndef KLP_PLT_RISCV64_ENCODE_H
#define KLP_PLT_RISCV64_ENCODE_H

#include "patchsite/arch/riscv64/insn.h"

static inline void klp_rv_put_auipc(uint8_t *out, unsigned rd, uint32_t high)
{
	klp_insn_put32(out, high << 12 | rd << 7 | 0x17u);
}

static inline void klp_rv_put_addi(uint8_t *out, unsigned rd, unsigned rs, uint32_t low)
{
	klp_insn_put32(out, low << 20 | rs << 15 | rd << 7 | 0x13u);
}

static inline void klp_rv_put_ld(uint8_t *out, unsigned rd, unsigned rs, uint32_t low)
{
	klp_insn_put32(out, low << 20 | rs << 15 | 3u << 12 | rd << 7 | 0x03u);
}

static inline void klp_rv_put_jalr(uint8_t *out, unsigned rd, unsigned rs, uint32_t low)
{
	klp_insn_put32(out, low << 20 | rs << 15 | rd << 7 | 0x67u);
}

/*
 * A distance as auipc and the instruction behind it have it: the upper 20 bits, rounded, for the lower 12 are signed.
 * false: it is out of the reach of the two, [-2 GiB - 2 KiB, 2 GiB - 2 KiB).
 */
static inline bool klp_rv_split(uint64_t rel, uint32_t *high, uint32_t *low)
{
	*high = (uint32_t)((rel + 0x800) >> 12) & 0xfffffu;
	*low = (uint32_t)rel & 0xfffu;
	return klp_insn_fits(rel + 0x800, 32);
}

/* auipc rd, target; ld rd, target(rd) */
static inline bool klp_rv_put_load(uint8_t *out, unsigned rd, uint64_t at, uint64_t target)
{
	uint32_t high, low;

	if (!klp_rv_split(target - at, &high, &low))
		return false;
	klp_rv_put_auipc(out, rd, high);
	klp_rv_put_ld(out + 4, rd, rd, low);
	return true;
}

/* auipc rd, target; addi rd, rd, target */
static inline bool klp_rv_put_address(uint8_t *out, unsigned rd, uint64_t at, uint64_t target)
{
	uint32_t high, low;

	if (!klp_rv_split(target - at, &high, &low))
		return false;
	klp_rv_put_auipc(out, rd, high);
	klp_rv_put_addi(out + 4, rd, rd, low);
	return true;
}

#endif
