/* SPDX-License-Identifier: Apache-2.0 */
/* What linked code refers to, in every form that a link can leave (RISC-V ABIs Specification 1.0, "Linker Relaxation").
 */
#include <string.h>
#include "tools/klp-build/objdiff/arch/riscv64/insn.h"
#include "tools/klp-build/objdiff/arch/riscv64/relax.h"

#define GP 3u
#define TP 4u

static const struct od_operand none = {.valid = false};

static struct od_operand whole(uint64_t value, const struct od_rel *r)
{
	return (struct od_operand){.valid = true, .whole = true, .value = value - (uint64_t)r->addend};
}

static struct od_operand half(bool slot, uint64_t value)
{
	return (struct od_operand){.valid = true, .slot = slot, .value = value};
}

/* Of four bytes if there are so many and the first two say so. */
static bool linked_insn(const struct lk *l, uint64_t at, uint32_t *w)
{
	const uint8_t *b = lk_bytes(l, at, 2);
	uint16_t parcel;

	if (!b)
		return false;
	memcpy(&parcel, b, 2);
	*w = parcel;
	if ((parcel & 3) != 3)
		return true;
	b = lk_bytes(l, at, 4);
	if (!b)
		return false;
	memcpy(w, b, 4);
	return true;
}

/* auipc and jalr; or a jump alone; or, to an address near zero, jalr. */
static struct od_operand read_call(const struct lk *l, uint64_t at, uint32_t w, const struct od_rel *r)
{
	uint32_t second;

	if (rv_is_c_j(w))
		return whole(at + rv_c_j_offset(w), r);
	if ((w & 0x7f) == RV_JAL)
		return whole(at + rv_jal_offset(w), r);
	if ((w & 0xff07fu) == RV_JALR)
		return whole(rv_low_i(w), r);
	if ((w & 0x7f) != RV_AUIPC || !linked_insn(l, at + 4, &second) || (second & 0x707f) != RV_JALR)
		return none;
	if (!(second >> 15 & 31)) /* an undefined weak function: nothing is added to zero */
		return whole(rv_low_i(second), r);
	return (second >> 15 & 31) == (w >> 7 & 31) ? whole(at + rv_high(w) + rv_low_i(second), r) : none;
}

/* lui, which may have become c.lui or, of zero, c.li. */
static struct od_operand read_lui(uint32_t w)
{
	if ((w & 0x7f) == RV_LUI)
		return half(false, rv_high(w));
	if ((w & 0xe003u) == 0x6001u)
		return half(false, rv_extend((w >> 12 & 1) << 5 | (w >> 2 & 31), 6) << 12);
	return (w & 0xf07fu) == 0x4001u ? half(false, 0) : none;
}

/* The low half may have become all of it: from gp, from tp, or from zero. */
static struct od_operand read_low(const struct lk *l, uint32_t w, uint64_t imm, const struct od_rel *r)
{
	bool label = r->type == R_RISCV_PCREL_LO12_I || r->type == R_RISCV_PCREL_LO12_S;
	bool tls = r->type == R_RISCV_TPREL_LO12_I || r->type == R_RISCV_TPREL_LO12_S;
	unsigned base = w >> 15 & 31;
	struct od_operand o = half(label && (w & 0x707f) == RV_LD, imm);

	if ((w & 3) != 3 || (tls && base == GP))
		return none;
	if (base == GP && !l->data_pointer)
		return none;
	if (base != GP && base && (!tls || base != TP))
		return o;
	o.value += base == GP ? l->data_pointer : 0;
	if (!label)
		return whole(o.value, r);
	o.slot = false;
	o.alone = true; /* with the addend of the high half */
	return o;
}

static struct od_operand read_data(const struct lk *l, uint64_t at, const struct od_rel *r)
{
	const uint8_t *b = lk_bytes(l, at, 4);
	uint32_t w;

	if (!b)
		return none;
	memcpy(&w, b, 4);
	return whole(r->type == R_RISCV_32 ? w : at + rv_extend(w, 32), r);
}

struct od_operand od_riscv64_operand(const struct lk *l, uint64_t at, const struct od_rel *r)
{
	uint32_t w;

	if (!linked_insn(l, at, &w))
		return none;
	switch (r->type) {
	case R_RISCV_CALL:
	case R_RISCV_CALL_PLT:
		return read_call(l, at, w, r);
	case R_RISCV_JAL:
		return (w & 0x7f) == RV_JAL ? whole(at + rv_jal_offset(w), r) : none;
	case R_RISCV_BRANCH:
		return (w & 0x7f) == RV_BRANCH ? whole(at + rv_branch_offset(w), r) : none;
	case R_RISCV_RVC_JUMP:
		return rv_is_c_j(w) ? whole(at + rv_c_j_offset(w), r) : none;
	case R_RISCV_RVC_BRANCH:
		return rv_is_c_branch(w) ? whole(at + rv_c_branch_offset(w), r) : none;
	case R_RISCV_HI20:
	case R_RISCV_TPREL_HI20:
		return read_lui(w);
	case R_RISCV_LO12_I:
	case R_RISCV_TPREL_LO12_I:
	case R_RISCV_PCREL_LO12_I:
		return read_low(l, w, rv_low_i(w), r);
	case R_RISCV_LO12_S:
	case R_RISCV_TPREL_LO12_S:
	case R_RISCV_PCREL_LO12_S:
		return read_low(l, w, rv_low_s(w), r);
	case R_RISCV_PCREL_HI20:
		if ((w & 0x7f) == RV_LUI) /* an undefined weak symbol */
			return half(false, rv_high(w));
		return (w & 0x7f) == RV_AUIPC ? half(false, at + rv_high(w)) : none;
	case R_RISCV_GOT_HI20:
	case R_RISCV_TLS_GOT_HI20:
	case R_RISCV_TLS_GD_HI20:
		return (w & 0x7f) == RV_AUIPC ? half(true, at + rv_high(w)) : none;
	case R_RISCV_32:
	case R_RISCV_32_PCREL:
	case OD_R_RISCV_PLT32:
		return read_data(l, at, r);
	default:
		return none;
	}
}

struct od_operand od_riscv64_join(const struct od_operand *high, const struct od_rel *hr, const struct od_operand *low,
				  const struct od_rel *lr)
{
	bool label = lr->type == R_RISCV_PCREL_LO12_I || lr->type == R_RISCV_PCREL_LO12_S;
	uint64_t difference = (uint64_t)hr->addend - (uint64_t)lr->addend;
	struct od_operand o = {.valid = true, .whole = true};

	if (low->whole)
		return label ? none : *low;
	switch (hr->type) {
	case R_RISCV_HI20:
	case R_RISCV_TPREL_HI20:
		if (label || high->gone || low->alone)
			return none;
		/* the halves may be of different places of one thing */
		o.value =
		    high->value + rv_extend((uint32_t)(low->value + difference) & 0xfff, 12) - (uint64_t)hr->addend;
		return o;
	case R_RISCV_PCREL_HI20:
	case R_RISCV_GOT_HI20:
	case R_RISCV_TLS_GOT_HI20:
	case R_RISCV_TLS_GD_HI20:
		if (!label || lr->addend || (high->gone && !low->alone))
			return none;
		o.value = (low->alone ? 0 : high->value) + low->value;
		o.slot = high->slot &&
			 (hr->type != R_RISCV_GOT_HI20 || low->slot); /* addi: the link put the address there */
		if (!o.slot)
			o.value -= (uint64_t)hr->addend;
		return o;
	default:
		return none;
	}
}
