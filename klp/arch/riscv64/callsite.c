/* SPDX-License-Identifier: Apache-2.0 */
/* The RISC-V Instruction Set Manual, volume I: jumps and branches; RISC-V ELF psABI: the PLT entry, auipc t3, ld t3,
 * jalr t1, t3, nop, and the pairs auipc, jalr that calls and tail calls are where the linker did not shorten them. */
#include "klp/callsite.h"

#include "patchsite/arch/riscv64/insn.h"

#define KLP_HALF 2u
#define KLP_INSN 4u
#define KLP_AUIPC(reg) (0x17u | (uint32_t)(reg) << 7)

static uint64_t klp_pair_target(uint64_t at, uint32_t auipc, uint32_t second)
{
	return at + (uint64_t)(int64_t)(int32_t)(auipc & 0xfffff000u) + klp_rv_sign(second >> 20, 12);
}

/* The slot may be writable: the dynamic linker stores there once, what it stands for. */
static bool klp_plt_leads_to(const struct klp_process *p, uint64_t at, uint64_t entry)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint8_t code[3 * KLP_INSN];
	uint32_t auipc, ld;

	if (klp_process_read(p, at, code, sizeof(code), &ignored))
		return false;
	auipc = klp_insn_get32(code);
	ld = klp_insn_get32(code + KLP_INSN);
	return (auipc & 0xfffu) == KLP_AUIPC(KLP_RV_T3) && (ld & 0xfffffu) == 0xe3e03u &&
	       klp_insn_get32(code + 2 * KLP_INSN) == 0x000e0367u &&
	       klp_slot_leads_to(p, klp_pair_target(at, auipc, ld), entry);
}

static bool klp_target_is(const struct klp_process *p, uint64_t target, uint64_t entry)
{
	return target == entry || klp_plt_leads_to(p, target, entry);
}

/* A call through a register tells nothing of where it went, but auipc ra, jalr ra, ra does. */
bool klp_call_is_of(const struct klp_process *p, uint64_t ret, uint64_t entry)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint8_t code[2 * KLP_INSN];
	uint32_t first, last;

	if (ret < sizeof(code) || ret % KLP_HALF ||
	    klp_process_read(p, ret - sizeof(code), code, sizeof(code), &ignored))
		return false;
	first = klp_insn_get32(code);
	last = klp_insn_get32(code + KLP_INSN);
	/* With the C extension the four bytes can be the end of something else: two short instructions, or one and a
	 * half. */
	if ((last & 0xfffu) == (0x6fu | KLP_RV_RA << 7))
		return klp_target_is(p, ret - KLP_INSN + klp_rv_jal_rel(last), entry);
	if ((last & 0xfffffu) == (0x67u | KLP_RV_RA << 7 | KLP_RV_RA << 15) && (first & 0xfffu) == KLP_AUIPC(KLP_RV_RA))
		return klp_target_is(p, klp_pair_target(ret - sizeof(code), first, last), entry);
	return false;
}

/* Where the instruction at code may jump to: 1 and *target; -1: anywhere; 0: nowhere else. */
static int klp_jump(const uint8_t *code, size_t len, uint64_t at, uint64_t *target)
{
	uint32_t half = klp_insn_get16(code), v, second;

	if ((half & 0xe003u) == 0xa001u) { /* c.j */
		*target = at + klp_rv_c_j_rel(half);
		return 1;
	}
	if ((half & 0xc003u) == 0xc001u) { /* c.beqz, c.bnez */
		*target = at + klp_rv_c_branch_rel(half);
		return 1;
	}
	if ((half & 0xf07fu) == 0x8002u) /* c.jr: through ra it is a return */
		return (half >> 7 & 31) > KLP_RV_RA ? -1 : 0;
	if (len < KLP_INSN)
		return 0;
	v = klp_insn_get32(code);
	if ((v & 0xfffu) == 0x6fu) { /* jal x0 */
		*target = at + klp_rv_jal_rel(v);
		return 1;
	}
	if ((v & 0x7fu) == 0x63u) {
		*target = at + klp_rv_branch_rel(v);
		return 1;
	}
	if ((v & 0x7fffu) == 0x67u && (v >> 15 & 31) > KLP_RV_RA) /* jalr x0: alone, or the end of a pair */
		return -1;
	if ((v & 0x7fu) != 0x17u || len < 2 * KLP_INSN)
		return 0;
	second = klp_insn_get32(code + KLP_INSN);
	if ((second & 0x7fffu) != 0x67u || (second >> 15 & 31) != (v >> 7 & 31))
		return 0;
	*target = klp_pair_target(at, v, second);
	return 2;
}

void klp_jumps_reach(const struct klp_process *p, const uint8_t *code, size_t len, uint64_t addr, const uint64_t *entry,
		     bool *reached, size_t count)
{
	size_t pair = 0; /* where the jalr of a pair stands that was seen with its auipc */

	for (size_t i = 0; i + KLP_HALF <= len; i += KLP_HALF) {
		uint64_t target = 0;
		int jumps = pair && i == pair ? 0 : klp_jump(code + i, len - i, addr + i, &target);

		if (jumps == 2)
			pair = i + KLP_INSN;
		if (!jumps || (jumps > 0 && target - addr < len)) /* within the code itself is no other function */
			continue;
		for (size_t k = 0; k < count; k++)
			if (!reached[k])
				reached[k] = jumps < 0 || klp_target_is(p, target, entry[k]);
	}
}
