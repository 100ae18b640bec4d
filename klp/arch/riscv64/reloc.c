/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relocations of riscv64 (RISC-V ABIs Specification 1.0, "ELF Object Files", Relocations). The list is what gcc 12 to
 * 14 and clang 14 emit for C in both code models, with and without PIC, with and without the C extension; what they do
 * not emit is known by name and refused.
 *
 * Objects are made for a linker that shortens code (R_RISCV_RELAX). klp's does not: so every distance is kept as it
 * is in pairs of ADD and SUB, and local branches as relocations, and both are applied as they stand. What may be left
 * out is never needed, but an alignment is (R_RISCV_ALIGN): it must hold where the code comes to lie.
 */
#include "klp/reloc.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "plt/arch/riscv64/encode.h"

/* Not in every <elf.h>. */
#define KLP_R_RISCV_PLT32 59
#define KLP_R_RISCV_SET_ULEB128 60
#define KLP_R_RISCV_SUB_ULEB128 61
#define KLP_R_RISCV_TLSDESC 12
#define KLP_R_RISCV_GOT32_PCREL 41
#define KLP_R_RISCV_TLSDESC_HI20 62
#define KLP_R_RISCV_TLSDESC_LOAD_LO12 63
#define KLP_R_RISCV_TLSDESC_ADD_LO12 64
#define KLP_R_RISCV_TLSDESC_CALL 65

/* How a value goes into its place: klp_reloc_info.form. */
enum {
	DATA, /* the bytes */
	ADD,  /* added to what is there */
	SUB,
	LOW6, /* the low 6 bits of a byte: DW_CFA_advance_loc */
	SUB6,
	HIGH20,     /* lui: the upper 20 bits, rounded */
	LOW12_I,    /* loads and addi: the lower 12 bits */
	LOW12_S,    /* stores */
	BRANCH,     /* conditional, 12 bits */
	JAL,        /* 20 bits */
	CALL,       /* auipc and jalr */
	RVC_BRANCH, /* 8 bits */
	RVC_JUMP,   /* 11 bits */
	PC_HIGH20,  /* auipc */
	PC_LOW12_I, /* of the distance that the auipc at the symbol has */
	PC_LOW12_S,
};

#define KLP_RELOC_NUMBER(number, t, class, form, width, pc, sign)             \
	{                                                                     \
		number, "R_RISCV_" #t, KLP_REL_##class, width, pc, sign, form \
	}
#define KLP_RELOC(t, class, form, width, pc, sign) KLP_RELOC_NUMBER(R_RISCV_##t, t, class, form, width, pc, sign)
#define KLP_RELOC_NEW(t, class, form, width, pc, sign) \
	KLP_RELOC_NUMBER(KLP_R_RISCV_##t, t, class, form, width, pc, sign)
#define KLP_RELOC_REFUSED(t) KLP_RELOC(t, REFUSED, DATA, 0, false, false)
#define KLP_RELOC_NEW_REFUSED(t) KLP_RELOC_NEW(t, REFUSED, DATA, 0, false, false)

const struct klp_reloc_info klp_reloc_list[] = {
    KLP_RELOC(NONE, NONE, DATA, 0, false, false),
    KLP_RELOC(RELAX, NONE, DATA, 0, false, false),
    KLP_RELOC(TPREL_ADD, NONE, DATA, 0, false, false), /* marks the addition of tp */
    KLP_RELOC(ALIGN, ALIGN, DATA, 0, false, false),
    KLP_RELOC(64, VALUE, DATA, 8, false, false),
    KLP_RELOC(32, VALUE, DATA, 4, false, false),
    KLP_RELOC(32_PCREL, VALUE, DATA, 4, true, true),
    KLP_RELOC_NEW(PLT32, VALUE, DATA, 4, true, true),
    KLP_RELOC(ADD8, VALUE, ADD, 1, false, false),
    KLP_RELOC(ADD16, VALUE, ADD, 2, false, false),
    KLP_RELOC(ADD32, VALUE, ADD, 4, false, false),
    KLP_RELOC(ADD64, VALUE, ADD, 8, false, false),
    KLP_RELOC(SUB8, VALUE, SUB, 1, false, false),
    KLP_RELOC(SUB16, VALUE, SUB, 2, false, false),
    KLP_RELOC(SUB32, VALUE, SUB, 4, false, false),
    KLP_RELOC(SUB64, VALUE, SUB, 8, false, false),
    KLP_RELOC(SET6, VALUE, LOW6, 1, false, false),
    KLP_RELOC(SUB6, VALUE, SUB6, 1, false, false),
    KLP_RELOC(SET8, VALUE, DATA, 1, false, false),
    KLP_RELOC(SET16, VALUE, DATA, 2, false, false),
    KLP_RELOC(SET32, VALUE, DATA, 4, false, false),
    KLP_RELOC(BRANCH, VALUE, BRANCH, 4, true, true),
    KLP_RELOC(JAL, VALUE, JAL, 4, true, true),
    KLP_RELOC(CALL, VALUE, CALL, 8, true, true),
    KLP_RELOC(CALL_PLT, VALUE, CALL, 8, true, true),
    KLP_RELOC(RVC_BRANCH, VALUE, RVC_BRANCH, 2, true, true),
    KLP_RELOC(RVC_JUMP, VALUE, RVC_JUMP, 2, true, true),
    KLP_RELOC(HI20, VALUE, HIGH20, 4, false, true),
    KLP_RELOC(LO12_I, VALUE, LOW12_I, 4, false, false),
    KLP_RELOC(LO12_S, VALUE, LOW12_S, 4, false, false),
    KLP_RELOC(PCREL_HI20, VALUE, PC_HIGH20, 4, true, true),
    KLP_RELOC(PCREL_LO12_I, PAIRED, PC_LOW12_I, 4, true, false),
    KLP_RELOC(PCREL_LO12_S, PAIRED, PC_LOW12_S, 4, true, false),
    KLP_RELOC(GOT_HI20, GOT, PC_HIGH20, 4, true, true),
    KLP_RELOC(TLS_GOT_HI20, GOT_TPOFF, PC_HIGH20, 4, true, true),
    KLP_RELOC(TLS_GD_HI20, TLS_GD, PC_HIGH20, 4, true, true),
    KLP_RELOC(TPREL_HI20, TPOFF, HIGH20, 4, false, true),
    KLP_RELOC(TPREL_LO12_I, TPOFF, LOW12_I, 4, false, false),
    KLP_RELOC(TPREL_LO12_S, TPOFF, LOW12_S, 4, false, false),
    KLP_RELOC_REFUSED(RELATIVE),
    KLP_RELOC_REFUSED(COPY),
    KLP_RELOC_REFUSED(JUMP_SLOT),
    KLP_RELOC_REFUSED(IRELATIVE),
    KLP_RELOC_REFUSED(TLS_DTPMOD32),
    KLP_RELOC_REFUSED(TLS_DTPMOD64),
    KLP_RELOC_REFUSED(TLS_DTPREL32),
    KLP_RELOC_REFUSED(TLS_DTPREL64),
    KLP_RELOC_REFUSED(TLS_TPREL32),
    KLP_RELOC_REFUSED(TLS_TPREL64),
    KLP_RELOC_REFUSED(RVC_LUI),
    KLP_RELOC_REFUSED(GPREL_I),
    KLP_RELOC_REFUSED(GPREL_S),
    KLP_RELOC_REFUSED(TPREL_I),
    KLP_RELOC_REFUSED(TPREL_S),
    KLP_RELOC_NEW_REFUSED(SET_ULEB128),
    KLP_RELOC_NEW_REFUSED(SUB_ULEB128),
    KLP_RELOC_NEW_REFUSED(GOT32_PCREL),
    KLP_RELOC_NEW_REFUSED(TLSDESC),
    KLP_RELOC_NEW_REFUSED(TLSDESC_HI20),
    KLP_RELOC_NEW_REFUSED(TLSDESC_LOAD_LO12),
    KLP_RELOC_NEW_REFUSED(TLSDESC_ADD_LO12),
    KLP_RELOC_NEW_REFUSED(TLSDESC_CALL),
};

const size_t klp_reloc_list_len = sizeof(klp_reloc_list) / sizeof(klp_reloc_list[0]);

bool klp_reloc_is_high(const struct klp_reloc_info *i)
{
	return i->form == PC_HIGH20;
}

/* `auipc, jalr` through one register, jal and c.j. Conditional branches do not leave a function. */
bool klp_reloc_is_branch(const struct klp_reloc_info *i, const uint8_t *code, uint64_t code_len, uint64_t offset,
			 int64_t addend)
{
	uint32_t first, second;

	if (i->class != KLP_REL_VALUE || addend || offset % 2 || offset > code_len || code_len - offset < i->width)
		return false;
	switch (i->form) {
	case CALL:
		first = klp_insn_get32(code + offset);
		second = klp_insn_get32(code + offset + 4);
		return (first & 0x7f) == 0x17 && (second & 0x707f) == 0x67 && (first >> 7 & 31) == (second >> 15 & 31);
	case JAL:
		return (klp_insn_get32(code + offset) & 0x7f) == 0x6f;
	case RVC_JUMP:
		return (klp_insn_get16(code + offset) & 0xe003) == 0xa001;
	default:
		return false;
	}
}

static void put_low_i(uint8_t *field, uint64_t v)
{
	klp_insn_put32(field, (klp_insn_get32(field) & 0xfffffu) | (uint32_t)(v & 0xfff) << 20);
}

static void put_low_s(uint8_t *field, uint64_t v)
{
	klp_insn_put32(field, (klp_insn_get32(field) & 0x01fff07fu) | (uint32_t)(v >> 5 & 0x7f) << 25 |
				  (uint32_t)(v & 31) << 7);
}

static int put_high(uint8_t *field, uint64_t v)
{
	uint32_t high, low;

	if (!klp_rv_split(v, &high, &low))
		return -ERANGE;
	klp_insn_put32(field, (klp_insn_get32(field) & 0xfffu) | high << 12);
	return 0;
}

/* The jump's or branch's immediate is `bits` long and stands in the bits of the mask. */
static int put_jump(uint8_t *field, uint64_t v, unsigned bits, uint32_t mask, uint32_t encoded)
{
	if ((v & 1) || !klp_insn_fits(v, bits))
		return -ERANGE;
	if (mask >> 16)
		klp_insn_put32(field, (klp_insn_get32(field) & ~mask) | (encoded & mask));
	else
		klp_insn_put16(field, (klp_insn_get16(field) & ~mask) | (encoded & mask));
	return 0;
}

static uint32_t branch_bits(uint32_t v)
{
	return (v >> 1 & 15) << 8 | (v >> 5 & 63) << 25 | (v >> 11 & 1) << 7 | (v >> 12 & 1) << 31;
}

static uint32_t c_branch_bits(uint32_t v)
{
	return (v >> 8 & 1) << 12 | (v >> 3 & 3) << 10 | (v >> 6 & 3) << 5 | (v >> 1 & 3) << 3 | (v >> 5 & 1) << 2;
}

/* What is there, with v put in its place, added or subtracted. */
static int store_data(const struct klp_reloc_info *i, uint8_t *field, uint64_t v)
{
	uint64_t old = 0;

	memcpy(&old, field, i->width);
	switch (i->form) {
	case ADD:
		v = old + v;
		break;
	case SUB:
		v = old - v;
		break;
	case LOW6:
		v = (old & 0xc0) | (v & 0x3f);
		break;
	case SUB6:
		v = (old & 0xc0) | ((old - v) & 0x3f);
		break;
	default: /* of one and two bytes the difference that follows has to fit, not this */
		if (i->width == 4 && (i->is_signed ? (uint64_t)(int64_t)(int32_t)v != v : (uint32_t)v != v) &&
		    i->type != R_RISCV_SET32)
			return -ERANGE;
		break;
	}
	memcpy(field, &v, i->width);
	return 0;
}

int klp_reloc_store(const struct klp_reloc_info *i, uint8_t *field, uint64_t place, uint64_t value, int64_t addend)
{
	uint64_t v = value + (uint64_t)addend, rel = v - place;
	int rc;

	switch (i->form) {
	case DATA:
	case ADD:
	case SUB:
	case LOW6:
	case SUB6:
		return store_data(i, field, i->pc_relative ? rel : v);
	case HIGH20:
		return put_high(field, v);
	case PC_HIGH20:
		return put_high(field, rel);
	case LOW12_I:
		put_low_i(field, v);
		return 0;
	case PC_LOW12_I:
		put_low_i(field, rel);
		return 0;
	case LOW12_S:
		put_low_s(field, v);
		return 0;
	case PC_LOW12_S:
		put_low_s(field, rel);
		return 0;
	case BRANCH:
		return put_jump(field, rel, 13, 0xfe000f80u, branch_bits((uint32_t)rel));
	case JAL:
		return put_jump(field, rel, 21, 0xfffff000u, klp_rv_jal(0, rel));
	case RVC_BRANCH:
		return put_jump(field, rel, 9, 0x1c7cu, c_branch_bits((uint32_t)rel));
	case RVC_JUMP:
		return put_jump(field, rel, 12, 0x1ffcu, klp_rv_c_j(rel));
	case CALL:
		rc = put_high(field, rel);
		if (!rc)
			put_low_i(field + 4, rel);
		return rc;
	default:
		return -EINVAL;
	}
}

/* Descriptors are refused by name. */
int klp_reloc_relax_desc(const struct klp_reloc_info *i, uint8_t *code, uint64_t code_len, uint64_t offset,
			 int64_t tpoff)
{
	(void)i;
	(void)code;
	(void)code_len;
	(void)offset;
	(void)tpoff;
	return -EILSEQ;
}

/* auipc t1, slot; ld t1, slot(t1); jr t1 */
int klp_module_plt_encode(uint8_t out[KLP_MODULE_PLT_SIZE], uint64_t addr, uint64_t slot)
{
	if (!klp_rv_put_load(out, KLP_RV_T1, addr, slot))
		return -ERANGE;
	klp_rv_put_jalr(out + 8, KLP_RV_ZERO, KLP_RV_T1, 0);
	klp_insn_put32(out + 12, KLP_RV_EBREAK);
	return 0;
}

enum klp_slot_kind klp_slot_kind(uint32_t type)
{
	switch (type) {
	case R_RISCV_JUMP_SLOT:
		return KLP_SLOT_JUMP;
	case R_RISCV_64:
		return KLP_SLOT_ADDRESS;
	case R_RISCV_TLS_TPREL64:
		return KLP_SLOT_TPOFF;
	case R_RISCV_TLS_DTPMOD64:
		return KLP_SLOT_DTPMOD;
	case R_RISCV_TLS_DTPREL64:
		return KLP_SLOT_DTPOFF;
	case KLP_R_RISCV_TLSDESC:
		return KLP_SLOT_DESC;
	default:
		return KLP_SLOT_OTHER;
	}
}

/* Every slot leads to the first entry at first: auipc t2, ...; sub t1, t1, t3; ... */
bool klp_slot_is_lazy(const uint8_t *code, size_t len, size_t index)
{
	(void)index;
	return len >= 8 && (klp_insn_get32(code) & 0xfffu) == 0x397u && klp_insn_get32(code + 4) == 0x41c30333u;
}

/* glibc's _dl_tlsdesc_return: ld a0, 8(a0); jr t0, of four bytes each or of two. */
bool klp_desc_is_static(const uint8_t *code, size_t len)
{
	size_t at;

	if (len >= 4 && klp_insn_get32(code) == 0x00853503u)
		at = 4;
	else if (len >= 2 && klp_insn_get16(code) == 0x6508u)
		at = 2;
	else
		return false;
	return (len >= at + 4 && klp_insn_get32(code + at) == 0x00028067u) ||
	       (len >= at + 2 && klp_insn_get16(code + at) == 0x8282u);
}

/* Variant I without a gap: the thread pointer points to the block, with the alignment of p_vaddr. */
int64_t klp_tls_executable_offset(uint64_t vaddr, uint64_t memsz, uint64_t align)
{
	(void)memsz;
	return (int64_t)(align > 1 ? vaddr & (align - 1) : 0);
}
