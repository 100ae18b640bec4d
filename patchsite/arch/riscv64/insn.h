/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions of RV64 (The RISC-V Instruction Set Manual, volume I, chapters 2, 4, 5 and 27) that klp writes or looks
 * for. */
#ifndef KLP_PATCHSITE_RISCV64_INSN_H
#define KLP_PATCHSITE_RISCV64_INSN_H

#include "patchsite/insn.h"

#define KLP_RV_NOP 0x00000013u /* addi x0, x0, 0 */
#define KLP_RV_C_NOP 0x0001u
#define KLP_RV_EBREAK 0x00100073u
#define KLP_RV_C_EBREAK 0x9002u
#define KLP_RV_ECALL 0x00000073u
#define KLP_RV_RET 0x00008067u /* jalr x0, 0(ra) */
#define KLP_RV_C_RET 0x8082u

enum { KLP_RV_ZERO = 0, KLP_RV_RA = 1, KLP_RV_SP = 2, KLP_RV_T0 = 5, KLP_RV_T1 = 6, KLP_RV_FP = 8, KLP_RV_T3 = 28 };

/* Two bytes, or four: longer ones are not in use. */
static inline bool klp_rv_is_short(uint32_t half)
{
	return (half & 3) != 3;
}

static inline uint32_t klp_rv_jal(unsigned rd, uint64_t rel)
{
	uint32_t v = (uint32_t)rel;

	return 0x6fu | rd << 7 | (v & 0xff000u) | (v >> 11 & 1) << 20 | (v >> 1 & 0x3ff) << 21 | (v >> 20 & 1) << 31;
}

static inline uint32_t klp_rv_c_j(uint64_t rel)
{
	uint32_t v = (uint32_t)rel;

	return 0xa001u | (v >> 11 & 1) << 12 | (v >> 4 & 1) << 11 | (v >> 8 & 3) << 9 | (v >> 10 & 1) << 8 |
	       (v >> 6 & 1) << 7 | (v >> 7 & 1) << 6 | (v >> 1 & 7) << 3 | (v >> 5 & 1) << 2;
}

/* What jal, c.j (and c.jal's sibling of RV32) and the conditional branches add to their own address. */
static inline uint64_t klp_rv_sign(uint32_t v, unsigned bits)
{
	uint64_t sign = (uint64_t)1 << (bits - 1);

	return ((v & (2 * sign - 1)) ^ sign) - sign;
}

static inline uint64_t klp_rv_jal_rel(uint32_t v)
{
	return klp_rv_sign((v & 0xff000u) | (v >> 20 & 1) << 11 | (v >> 21 & 0x3ff) << 1 | (v >> 31) << 20, 21);
}

static inline uint64_t klp_rv_branch_rel(uint32_t v)
{
	return klp_rv_sign((v >> 8 & 15) << 1 | (v >> 25 & 63) << 5 | (v >> 7 & 1) << 11 | (v >> 31) << 12, 13);
}

static inline uint64_t klp_rv_c_j_rel(uint32_t v)
{
	return klp_rv_sign((v >> 12 & 1) << 11 | (v >> 11 & 1) << 4 | (v >> 9 & 3) << 8 | (v >> 8 & 1) << 10 |
			       (v >> 7 & 1) << 6 | (v >> 6 & 1) << 7 | (v >> 3 & 7) << 1 | (v >> 2 & 1) << 5,
			   12);
}

static inline uint64_t klp_rv_c_branch_rel(uint32_t v)
{
	return klp_rv_sign(
	    (v >> 12 & 1) << 8 | (v >> 10 & 3) << 3 | (v >> 5 & 3) << 6 | (v >> 3 & 3) << 1 | (v >> 2 & 1) << 5, 9);
}

#endif
