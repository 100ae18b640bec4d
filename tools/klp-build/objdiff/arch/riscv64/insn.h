/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions as they stand in code (The RISC-V Instruction Set Manual, volume I). */
#ifndef KLP_OBJDIFF_RISCV64_INSN_H
#define KLP_OBJDIFF_RISCV64_INSN_H

#include "tools/klp-build/objdiff/object.h"

/* Not in every <elf.h>. */
#define OD_R_RISCV_TLSDESC 12
#define OD_R_RISCV_GOT32_PCREL 41
#define OD_R_RISCV_PLT32 59
#define OD_R_RISCV_SET_ULEB128 60
#define OD_R_RISCV_SUB_ULEB128 61
#define OD_R_RISCV_TLSDESC_HI20 62
#define OD_R_RISCV_TLSDESC_LOAD_LO12 63
#define OD_R_RISCV_TLSDESC_ADD_LO12 64
#define OD_R_RISCV_TLSDESC_CALL 65

/* Stands for no relocation of the ABI: od_riscv64_own_address. */
#define OD_RISCV_OWN_ADDRESS 0x10000u

/* Opcodes of four bytes. */
enum {
	RV_LOAD = 0x03,
	RV_LOAD_FP = 0x07,
	RV_FENCE = 0x0f,
	RV_OP_IMM = 0x13,
	RV_AUIPC = 0x17,
	RV_OP_IMM_32 = 0x1b,
	RV_STORE = 0x23,
	RV_STORE_FP = 0x27,
	RV_OP = 0x33,
	RV_LUI = 0x37,
	RV_OP_32 = 0x3b,
	RV_MADD = 0x43,
	RV_MSUB = 0x47,
	RV_NMSUB = 0x4b,
	RV_NMADD = 0x4f,
	RV_OP_FP = 0x53,
	RV_BRANCH = 0x63,
	RV_JALR = 0x67,
	RV_JAL = 0x6f,
	RV_SYSTEM = 0x73,
};

/* ld and addi with all that is not register or immediate */
#define RV_LD 0x3003u
#define RV_ADDI 0x13u

static inline uint64_t rv_extend(uint32_t v, unsigned bits)
{
	uint64_t sign = (uint64_t)1 << (bits - 1);

	return (v ^ sign) - sign;
}

/* Of lui and auipc. */
static inline uint64_t rv_high(uint32_t w)
{
	return rv_extend(w & 0xfffff000u, 32);
}

/* Of loads, addi and jalr; of stores. */
static inline uint64_t rv_low_i(uint32_t w)
{
	return rv_extend(w >> 20, 12);
}

static inline uint64_t rv_low_s(uint32_t w)
{
	return rv_extend((w >> 25) << 5 | (w >> 7 & 31), 12);
}

static inline uint64_t rv_branch_offset(uint32_t w)
{
	return rv_extend((w >> 8 & 15) << 1 | (w >> 25 & 63) << 5 | (w >> 7 & 1) << 11 | (w >> 31) << 12, 13);
}

static inline uint64_t rv_jal_offset(uint32_t w)
{
	return rv_extend((w >> 21 & 0x3ff) << 1 | (w >> 20 & 1) << 11 | (w >> 12 & 0xff) << 12 | (w >> 31) << 20, 21);
}

static inline uint64_t rv_c_branch_offset(uint32_t w)
{
	return rv_extend(
	    (w >> 3 & 3) << 1 | (w >> 10 & 3) << 3 | (w >> 2 & 1) << 5 | (w >> 5 & 3) << 6 | (w >> 12 & 1) << 8, 9);
}

static inline uint64_t rv_c_j_offset(uint32_t w)
{
	return rv_extend((w >> 3 & 7) << 1 | (w >> 11 & 1) << 4 | (w >> 2 & 1) << 5 | (w >> 7 & 1) << 6 |
			     (w >> 6 & 1) << 7 | (w >> 9 & 3) << 8 | (w >> 8 & 1) << 10 | (w >> 12 & 1) << 11,
			 12);
}

static inline bool rv_is_c_j(uint32_t w)
{
	return (w & 0xe003u) == 0xa001u;
}

/* c.beqz, c.bnez */
static inline bool rv_is_c_branch(uint32_t w)
{
	return (w & 0xc003u) == 0xc001u;
}

enum od_use od_riscv64_use(const struct od_sec *s, const struct od_rel *r);
bool od_riscv64_only_loads(const struct od_sec *s, const struct od_rel *r);
bool od_riscv64_own_address(const struct od_sec *s, uint64_t at, struct od_rel *r);
#endif
