/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relocations of aarch64 (ELF for the Arm 64-bit Architecture, 2024Q3, section 5.7). The list is what gcc 12 and clang
 * 14 emit for C in the small code model, with and without PIC. What they do not emit is known by name and refused.
 */
#include "klp/reloc.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "plt/arch/aarch64/encode.h"

/* How a value goes into its place: klp_reloc_info.form. */
enum {
	DATA,       /* the bytes */
	BRANCH26,   /* b, bl */
	BRANCH19,   /* b.cond, cbz, and ldr (literal) */
	BRANCH14,   /* tbz */
	ADR,        /* 21 bits in two pieces */
	ADRP,       /* the same of the page's distance */
	LOW12,      /* add: the low 12 bits */
	LOW12_HIGH, /* add, shifted: bits 12 to 23 */
	LDST8,      /* loads and stores: the low 12 bits in units of the access; the next four in this order */
	LDST16,
	LDST32,
	LDST64,
	LDST128,
};

#define KLP_RELOC(t, class, form, width, pc, sign)                                     \
	{                                                                              \
		R_AARCH64_##t, "R_AARCH64_" #t, KLP_REL_##class, width, pc, sign, form \
	}
#define KLP_RELOC_REFUSED(t) KLP_RELOC(t, REFUSED, DATA, 0, false, false)

const struct klp_reloc_info klp_reloc_list[] = {
    KLP_RELOC(NONE, NONE, DATA, 0, false, false),
    KLP_RELOC(ABS64, VALUE, DATA, 8, false, false),
    KLP_RELOC(ABS32, VALUE, DATA, 4, false, false),
    KLP_RELOC(PREL64, VALUE, DATA, 8, true, true),
    KLP_RELOC(PREL32, VALUE, DATA, 4, true, true),
    KLP_RELOC(CALL26, VALUE, BRANCH26, 4, true, true),
    KLP_RELOC(JUMP26, VALUE, BRANCH26, 4, true, true),
    KLP_RELOC(CONDBR19, VALUE, BRANCH19, 4, true, true),
    KLP_RELOC(TSTBR14, VALUE, BRANCH14, 4, true, true),
    KLP_RELOC(LD_PREL_LO19, VALUE, BRANCH19, 4, true, true),
    KLP_RELOC(ADR_PREL_LO21, VALUE, ADR, 4, true, true),
    KLP_RELOC(ADR_PREL_PG_HI21, VALUE, ADRP, 4, true, true),
    KLP_RELOC(ADR_PREL_PG_HI21_NC, VALUE, ADRP, 4, true, true),
    KLP_RELOC(ADD_ABS_LO12_NC, VALUE, LOW12, 4, false, false),
    KLP_RELOC(LDST8_ABS_LO12_NC, VALUE, LDST8, 4, false, false),
    KLP_RELOC(LDST16_ABS_LO12_NC, VALUE, LDST16, 4, false, false),
    KLP_RELOC(LDST32_ABS_LO12_NC, VALUE, LDST32, 4, false, false),
    KLP_RELOC(LDST64_ABS_LO12_NC, VALUE, LDST64, 4, false, false),
    KLP_RELOC(LDST128_ABS_LO12_NC, VALUE, LDST128, 4, false, false),
    KLP_RELOC(ADR_GOT_PAGE, GOT, ADRP, 4, true, true),
    KLP_RELOC(LD64_GOT_LO12_NC, GOT, LDST64, 4, false, false),
    KLP_RELOC(TLSLE_ADD_TPREL_HI12, TPOFF, LOW12_HIGH, 4, false, false),
    KLP_RELOC(TLSLE_ADD_TPREL_LO12, TPOFF, LOW12, 4, false, true),
    KLP_RELOC(TLSLE_ADD_TPREL_LO12_NC, TPOFF, LOW12, 4, false, false),
    KLP_RELOC(TLSIE_ADR_GOTTPREL_PAGE21, GOT_TPOFF, ADRP, 4, true, true),
    KLP_RELOC(TLSIE_LD64_GOTTPREL_LO12_NC, GOT_TPOFF, LDST64, 4, false, false),
    KLP_RELOC(TLSDESC_ADR_PAGE21, TLS_DESC, ADRP, 4, true, true),
    KLP_RELOC(TLSDESC_LD64_LO12, TLS_DESC, LDST64, 4, false, false),
    KLP_RELOC(TLSDESC_ADD_LO12, TLS_DESC, LOW12, 4, false, false),
    KLP_RELOC(TLSDESC_CALL, TLS_DESC_CALL, DATA, 0, false, false),
    KLP_RELOC_REFUSED(ABS16),
    KLP_RELOC_REFUSED(PREL16),
    KLP_RELOC_REFUSED(MOVW_UABS_G0),
    KLP_RELOC_REFUSED(MOVW_UABS_G0_NC),
    KLP_RELOC_REFUSED(MOVW_UABS_G1),
    KLP_RELOC_REFUSED(MOVW_UABS_G1_NC),
    KLP_RELOC_REFUSED(MOVW_UABS_G2),
    KLP_RELOC_REFUSED(MOVW_UABS_G2_NC),
    KLP_RELOC_REFUSED(MOVW_UABS_G3),
    KLP_RELOC_REFUSED(GOT_LD_PREL19),
    KLP_RELOC_REFUSED(LD64_GOTOFF_LO15),
    KLP_RELOC_REFUSED(LD64_GOTPAGE_LO15),
    KLP_RELOC_REFUSED(TLSGD_ADR_PAGE21),
    KLP_RELOC_REFUSED(TLSGD_ADD_LO12_NC),
    KLP_RELOC_REFUSED(TLSLD_ADR_PAGE21),
    KLP_RELOC_REFUSED(TLSLD_ADD_LO12_NC),
    KLP_RELOC_REFUSED(COPY),
    KLP_RELOC_REFUSED(GLOB_DAT),
    KLP_RELOC_REFUSED(JUMP_SLOT),
    KLP_RELOC_REFUSED(RELATIVE),
    KLP_RELOC_REFUSED(IRELATIVE),
    KLP_RELOC_REFUSED(TLS_DTPMOD),
    KLP_RELOC_REFUSED(TLS_DTPREL),
    KLP_RELOC_REFUSED(TLS_TPREL),
    KLP_RELOC_REFUSED(TLSDESC),
};

const size_t klp_reloc_list_len = sizeof(klp_reloc_list) / sizeof(klp_reloc_list[0]);

static uint32_t insn_get(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* b and bl. Nothing else has this form, and conditional branches do not leave a function. */
bool klp_reloc_is_branch(const struct klp_reloc_info *i, const uint8_t *code, uint64_t code_len, uint64_t offset,
			 int64_t addend)
{
	return i->class == KLP_REL_VALUE && i->form == BRANCH26 && !addend && offset % 4 == 0 && offset <= code_len &&
	       code_len - offset >= 4 && (insn_get(code + offset) & 0x7c000000u) == 0x14000000u;
}

/* No relocation speaks of another one here. */
bool klp_reloc_is_high(const struct klp_reloc_info *i)
{
	(void)i;
	return false;
}

/* `bits` bits of v at bit `at` of the instruction. */
static void insn_set(uint8_t *field, unsigned at, unsigned bits, uint64_t v)
{
	uint32_t mask = (uint32_t)(((uint64_t)1 << bits) - 1), insn = insn_get(field);

	klp_a64_put(field, (insn & ~(mask << at)) | ((uint32_t)v & mask) << at);
}

static int store_branch(uint8_t *field, uint64_t v, unsigned at, unsigned bits)
{
	if (v & 3 || !klp_a64_fits(v, bits + 2))
		return -ERANGE;
	insn_set(field, at, bits, v >> 2);
	return 0;
}

static int store_adr(uint8_t *field, uint64_t v)
{
	if (!klp_a64_fits(v, 21))
		return -ERANGE;
	insn_set(field, 29, 2, v);
	insn_set(field, 5, 19, v >> 2);
	return 0;
}

static int store_data(const struct klp_reloc_info *i, uint8_t *field, uint64_t v)
{
	uint32_t low = (uint32_t)v;

	if (i->width == 8) {
		memcpy(field, &v, sizeof(v));
		return 0;
	}
	if (i->width != 4)
		return -EINVAL;
	if (i->is_signed ? (uint64_t)(int64_t)(int32_t)low != v : low != v)
		return -ERANGE;
	memcpy(field, &low, sizeof(low));
	return 0;
}

int klp_reloc_store(const struct klp_reloc_info *i, uint8_t *field, uint64_t place, uint64_t value, int64_t addend)
{
	uint64_t v = value + (uint64_t)addend, page = (v & ~4095ull) - (place & ~4095ull);
	unsigned shift = (unsigned)i->form - LDST8;

	switch (i->form) {
	case DATA:
		return store_data(i, field, v - (i->pc_relative ? place : 0));
	case BRANCH26:
		return store_branch(field, v - place, 0, 26);
	case BRANCH19:
		return store_branch(field, v - place, 5, 19);
	case BRANCH14:
		return store_branch(field, v - place, 5, 14);
	case ADR:
		return store_adr(field, v - place);
	case ADRP:
		if (!klp_a64_fits(page, 33))
			return -ERANGE;
		return store_adr(field, (uint64_t)((int64_t)page >> 12));
	case LOW12:
		if (i->is_signed && v > 0xfff) /* the checked form of an offset that must fit */
			return -ERANGE;
		insn_set(field, 10, 12, v);
		return 0;
	case LOW12_HIGH:
		if (v > 0xffffff)
			return -ERANGE;
		insn_set(field, 10, 12, v >> 12);
		return 0;
	case LDST8:
	case LDST16:
	case LDST32:
	case LDST64:
	case LDST128:
		if (v & (((uint64_t)1 << shift) - 1))
			return -ERANGE;
		insn_set(field, 10, 12, (v & 0xfff) >> shift);
		return 0;
	default:
		return -EINVAL;
	}
}

/*
 * adrp x0, :tlsdesc:v	->	movz x0, #high, lsl #16
 * ldr  x1, [x0, #...]	->	movk x0, #low
 * add  x0, x0, #...	->	nop
 * blr  x1		->	nop
 */
int klp_reloc_relax_desc(const struct klp_reloc_info *i, uint8_t *code, uint64_t code_len, uint64_t offset,
			 int64_t tpoff)
{
	uint32_t insn, now = KLP_A64_NOP;
	bool good;

	if (offset % 4 || offset > code_len || code_len - offset < 4)
		return -EILSEQ;
	insn = insn_get(code + offset);
	switch (i->type) {
	case R_AARCH64_TLSDESC_ADR_PAGE21:
		good = (insn & 0x9f00001fu) == 0x90000000u;
		now = 0xd2a00000u | ((uint32_t)((uint64_t)tpoff >> 16) & 0xffff) << 5;
		break;
	case R_AARCH64_TLSDESC_LD64_LO12:
		good = (insn & 0xffc003ffu) == 0xf9400001u;
		now = 0xf2800000u | ((uint32_t)tpoff & 0xffff) << 5;
		break;
	case R_AARCH64_TLSDESC_ADD_LO12:
		good = (insn & 0xff8003ffu) == 0x91000000u;
		break;
	case R_AARCH64_TLSDESC_CALL:
		good = insn == 0xd63f0020u;
		break;
	default:
		return -EILSEQ;
	}
	if (!good)
		return -EILSEQ;
	if ((uint64_t)tpoff >> 32)
		return -ERANGE;
	klp_a64_put(code + offset, now);
	return 0;
}

/* adrp x16, slot; ldr x16, [x16, #slot]; br x16, which may arrive at a landing pad. */
int klp_module_plt_encode(uint8_t out[KLP_MODULE_PLT_SIZE], uint64_t addr, uint64_t slot)
{
	if (!klp_a64_put_adrp(out, 16, addr, slot) || !klp_a64_put_ldr_low(out + 4, 16, 16, slot))
		return -ERANGE;
	klp_a64_put(out + 8, KLP_A64_BR_X16);
	klp_a64_put(out + 12, KLP_A64_BRK);
	return 0;
}

enum klp_slot_kind klp_slot_kind(uint32_t type)
{
	switch (type) {
	case R_AARCH64_JUMP_SLOT:
		return KLP_SLOT_JUMP;
	case R_AARCH64_GLOB_DAT:
	case R_AARCH64_ABS64:
		return KLP_SLOT_ADDRESS;
	case R_AARCH64_TLS_TPREL:
		return KLP_SLOT_TPOFF;
	case R_AARCH64_TLS_DTPMOD:
		return KLP_SLOT_DTPMOD;
	case R_AARCH64_TLS_DTPREL:
		return KLP_SLOT_DTPOFF;
	case R_AARCH64_TLSDESC:
		return KLP_SLOT_DESC;
	default:
		return KLP_SLOT_OTHER;
	}
}

/* Every slot leads to the first entry at first: [bti c] stp x16, x30, [sp, #-16]!; adrp x16, ... */
bool klp_slot_is_lazy(const uint8_t *code, size_t len, size_t index)
{
	size_t at = len >= 4 && insn_get(code) == KLP_A64_BTI_C ? 4 : 0;

	(void)index;
	return len >= at + 8 && insn_get(code + at) == 0xa9bf7bf0u &&
	       (insn_get(code + at + 4) & 0x9f00001fu) == 0x90000010u;
}

/* glibc's _dl_tlsdesc_return and musl's __tlsdesc_static: [bti c] ldr x0, [x0, #8]; ret */
bool klp_desc_is_static(const uint8_t *code, size_t len)
{
	size_t at = len >= 4 && insn_get(code) == KLP_A64_BTI_C ? 4 : 0;

	return len >= at + 8 && insn_get(code + at) == 0xf9400400u && insn_get(code + at + 4) == 0xd65f03c0u;
}

/* Variant I: the thread pointer points to 16 bytes of control block, behind them the block, with the alignment of
 * p_vaddr. */
int64_t klp_tls_executable_offset(uint64_t vaddr, uint64_t memsz, uint64_t align)
{
	(void)memsz;
	return (int64_t)(16 + (align > 1 ? (vaddr - 16) & (align - 1) : 0));
}
