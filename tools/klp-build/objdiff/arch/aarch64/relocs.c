/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relocations of aarch64 (ELF for the Arm 64-bit Architecture, 5.7), what linkers make of them, and PLT entries. The
 * list is that of klp/arch/aarch64/reloc.c, which links modules: what it refuses is not known here either.
 */
#include <string.h>
#include "tools/klp-build/objdiff/arch/aarch64/insn.h"
#include "tools/klp-build/objdiff/linked.h"

#define PAGE_MASK 4095ull
#define NO_PAGE 1 /* lld makes nop and adr of adrp and add that are near */

/* How the value stands in its place. */
enum form {
	DATA,
	BRANCH26,
	BRANCH19,
	BRANCH14,
	ADR,
	ADRP,
	LOW12, /* of add */
	LDST,  /* of loads and stores, in units of the access */
	CALL,  /* marks an instruction */
};

static const struct rel {
	uint32_t type;
	enum od_rel_class class;
	enum form form;
	uint8_t width, shift; /* shift: of the access */
} rels[] = {
    {R_AARCH64_ABS64, OD_REL_ADDRESS, DATA, 8, 0},
    {R_AARCH64_ABS32, OD_REL_ADDRESS, DATA, 4, 0},
    {R_AARCH64_PREL64, OD_REL_ADDRESS, DATA, 8, 0},
    {R_AARCH64_PREL32, OD_REL_ADDRESS, DATA, 4, 0},
    {R_AARCH64_CALL26, OD_REL_ADDRESS, BRANCH26, 4, 0},
    {R_AARCH64_JUMP26, OD_REL_ADDRESS, BRANCH26, 4, 0},
    {R_AARCH64_CONDBR19, OD_REL_ADDRESS, BRANCH19, 4, 0},
    {R_AARCH64_TSTBR14, OD_REL_ADDRESS, BRANCH14, 4, 0},
    {R_AARCH64_LD_PREL_LO19, OD_REL_ADDRESS, BRANCH19, 4, 0},
    {R_AARCH64_ADR_PREL_LO21, OD_REL_ADDRESS, ADR, 4, 0},
    {R_AARCH64_ADR_PREL_PG_HI21, OD_REL_ADDRESS, ADRP, 4, 0},
    {R_AARCH64_ADR_PREL_PG_HI21_NC, OD_REL_ADDRESS, ADRP, 4, 0},
    {R_AARCH64_ADD_ABS_LO12_NC, OD_REL_ADDRESS, LOW12, 4, 0},
    {R_AARCH64_LDST8_ABS_LO12_NC, OD_REL_ADDRESS, LDST, 4, 0},
    {R_AARCH64_LDST16_ABS_LO12_NC, OD_REL_ADDRESS, LDST, 4, 1},
    {R_AARCH64_LDST32_ABS_LO12_NC, OD_REL_ADDRESS, LDST, 4, 2},
    {R_AARCH64_LDST64_ABS_LO12_NC, OD_REL_ADDRESS, LDST, 4, 3},
    {R_AARCH64_LDST128_ABS_LO12_NC, OD_REL_ADDRESS, LDST, 4, 4},
    {R_AARCH64_ADR_GOT_PAGE, OD_REL_GOT, ADRP, 4, 0},
    {R_AARCH64_LD64_GOT_LO12_NC, OD_REL_GOT, LDST, 4, 3},
    {R_AARCH64_TLSLE_ADD_TPREL_HI12, OD_REL_TLS, LOW12, 4, 0},
    {R_AARCH64_TLSLE_ADD_TPREL_LO12, OD_REL_TLS, LOW12, 4, 0},
    {R_AARCH64_TLSLE_ADD_TPREL_LO12_NC, OD_REL_TLS, LOW12, 4, 0},
    {R_AARCH64_TLSIE_ADR_GOTTPREL_PAGE21, OD_REL_TLS, ADRP, 4, 0},
    {R_AARCH64_TLSIE_LD64_GOTTPREL_LO12_NC, OD_REL_TLS, LDST, 4, 3},
    {R_AARCH64_TLSDESC_ADR_PAGE21, OD_REL_TLS, ADRP, 4, 0},
    {R_AARCH64_TLSDESC_LD64_LO12, OD_REL_TLS, LDST, 4, 3},
    {R_AARCH64_TLSDESC_ADD_LO12, OD_REL_TLS, LOW12, 4, 0},
    {R_AARCH64_TLSDESC_CALL, OD_REL_TLS, CALL, 4, 0},
};

static const struct rel *rel_of(uint32_t type)
{
	for (size_t i = 0; i < sizeof(rels) / sizeof(*rels); i++)
		if (rels[i].type == type)
			return &rels[i];
	return NULL;
}

static struct od_rel_info find_rel(uint32_t type)
{
	const struct rel *r = rel_of(type);
	struct od_rel_info i = {.class = OD_REL_UNKNOWN, .width = 4};

	if (type == R_AARCH64_NONE)
		return (struct od_rel_info){.class = OD_REL_NONE};
	if (!r)
		return i;
	i.class = r->class;
	i.width = r->width;
	i.word = r->type == R_AARCH64_ABS64;
	i.pc =
	    r->class == OD_REL_ADDRESS && !i.word && r->type != R_AARCH64_ABS32 && r->form != LOW12 && r->form != LDST;
	if (r->class == OD_REL_ADDRESS || r->class == OD_REL_GOT)
		i.half = r->form == ADRP ? OD_HALF_HIGH : r->form == LOW12 || r->form == LDST ? OD_HALF_LOW : OD_WHOLE;
	return i;
}

static enum od_slot find_slot(uint32_t type)
{
	switch (type) {
	case R_AARCH64_JUMP_SLOT:
		return OD_SLOT_JUMP;
	case R_AARCH64_GLOB_DAT:
		return OD_SLOT_ADDRESS;
	case R_AARCH64_RELATIVE:
		return OD_SLOT_RELATIVE;
	case R_AARCH64_COPY:
		return OD_SLOT_COPY;
	case R_AARCH64_TLS_TPREL:
		return OD_SLOT_TPOFF;
	case R_AARCH64_TLS_DTPMOD:
		return OD_SLOT_DTPMOD;
	case R_AARCH64_TLSDESC:
		return OD_SLOT_DESC;
	default:
		return OD_SLOT_OTHER;
	}
}

/* The bits of the value. Linkers rewrite whole instructions of slots and of thread-local variables. */
static uint8_t link_mask(const struct od_rel *r, uint64_t off)
{
	const struct rel *i = rel_of(r->type);
	uint64_t width = r->type == R_AARCH64_NONE ? 0 : i ? i->width : 4;
	uint32_t bits = 0xffffffffu;

	if (off < r->off || off - r->off >= width)
		return 0;
	if (!i || i->form == DATA || i->class != OD_REL_ADDRESS)
		return 0xff;
	if (i->form == BRANCH26)
		bits = 0x03ffffffu;
	else if (i->form == BRANCH19)
		bits = 0x00ffffe0u;
	else if (i->form == BRANCH14)
		bits = 0x0007ffe0u;
	else if (i->form == ADR || i->form == ADRP)
		bits = 0x60ffffe0u;
	else if (i->form == LOW12 || i->form == LDST)
		bits = 0x003ffc00u;
	return (uint8_t)(bits >> 8 * (off - r->off));
}

static struct od_operand whole(uint64_t value, const struct od_rel *r)
{
	return (struct od_operand){.valid = true, .whole = true, .value = value - (uint64_t)r->addend};
}

static struct od_operand half(bool slot, uint64_t value)
{
	return (struct od_operand){.valid = true, .slot = slot, .value = value};
}

static struct od_operand read_operand(const struct lk *l, uint64_t at, const struct od_rel *r)
{
	const struct od_operand none = {.valid = false};
	const struct rel *i = rel_of(r->type);
	const uint8_t *b = lk_bytes(l, at, i ? i->width : 4);
	uint64_t v;
	uint32_t w;

	if (!i || !b)
		return none;
	memcpy(&w, b, 4);
	switch (i->form) {
	case DATA:
		if (r->type == R_AARCH64_ABS32)
			return whole(w, r);
		v = (uint64_t)(int64_t)(int32_t)w;
		if (i->width == 8)
			memcpy(&v, b, 8);
		return r->type == R_AARCH64_ABS64 ? none : whole(at + v, r);
	case BRANCH26:
		return a64_is_branch26(w) ? whole(at + a64_signed(w, 0, 26) * 4, r) : none;
	case BRANCH19:
		return whole(at + a64_signed(w, 5, 19) * 4, r);
	case BRANCH14:
		return a64_is_branch14(w) ? whole(at + a64_signed(w, 5, 14) * 4, r) : none;
	case ADR:
		return a64_is_adr(w) ? whole(at + a64_adr_offset(w), r) : none;
	case ADRP:
		if (a64_is_adrp(w))
			return half(i->class == OD_REL_GOT, (at & ~PAGE_MASK) + (a64_adr_offset(w) << 12));
		return w == A64_NOP ? half(false, NO_PAGE) : none;
	case LOW12:
	case LDST:
		if (a64_is_adr(w))
			return whole(at + a64_adr_offset(w), r);
		if (a64_is_add_imm(w)) /* also what became of a slot's load */
			return half(false, w >> 10 & 0xfff);
		if ((w & 0x3b000000u) != 0x39000000u)
			return none;
		return half(i->class == OD_REL_GOT, (uint64_t)(w >> 10 & 0xfff) << i->shift);
	default:
		return none;
	}
}

/* Of a slot's page and load: the same register, and the load as it was or the address in its place. */
static bool as_linked(const struct lk *l, uint64_t at, const struct od_sec *s, const struct od_rel *r)
{
	const struct rel *i = rel_of(r->type);
	const uint8_t *b = lk_bytes(l, at, 4);
	uint32_t was, is;

	if (!i || i->class != OD_REL_GOT)
		return true;
	if (!b || !s->data || r->off > s->size || s->size - r->off < 4)
		return false;
	memcpy(&was, s->data + r->off, 4);
	memcpy(&is, b, 4);
	if (i->form == ADRP)
		return is == A64_NOP || (was & 0x9f00001fu) == (is & 0x9f00001fu);
	if (i->form != LDST && i->form != LOW12)
		return false;
	return !((was ^ is) & ~0x003ffc00u) || ((is & 0xffc00000u) == 0x91000000u && (was & 0x3ffu) == (is & 0x3ffu)) ||
	       (a64_is_adr(is) && (was & 0x1fu) == (is & 0x1fu));
}

/* Local exec: two additions to the thread pointer, behind which are two words and then the block. */
static bool tls_offset(const struct lk *l, uint64_t at, const struct od_sec *s, const struct od_rel *r, uint64_t offset)
{
	bool high = r->type == R_AARCH64_TLSLE_ADD_TPREL_HI12;
	const uint8_t *b = lk_bytes(l, at, 4);
	uint32_t was, is;

	if ((!high && r->type != R_AARCH64_TLSLE_ADD_TPREL_LO12 && r->type != R_AARCH64_TLSLE_ADD_TPREL_LO12_NC) ||
	    !b || !s->data || r->off > s->size || s->size - r->off < 4)
		return false;
	memcpy(&was, s->data + r->off, 4);
	memcpy(&is, b, 4);
	for (size_t i = 0; i < l->ph_count; i++) {
		const Elf64_Phdr *p = &l->ph[i];
		uint64_t align = p->p_align ? p->p_align : 1, want = offset + (uint64_t)r->addend;

		if (p->p_type != PT_TLS)
			continue;
		want += (16 + align - 1) / align * align;
		return !((was ^ is) & ~0x003ffc00u) && (want >> 24) == 0 &&
		       (is >> 10 & 0xfff) == (high ? want >> 12 : want & 0xfff);
	}
	return false;
}

/* The low bits of the address without an addend come from the low half, the page from the high one. */
static struct od_operand join(const struct od_operand *high, const struct od_rel *hr, const struct od_operand *low,
			      const struct od_rel *lr)
{
	struct od_operand o = {.valid = true, .whole = true, .slot = low->slot};
	uint64_t bits = (low->value - (uint64_t)lr->addend) & PAGE_MASK;

	if (low->whole)
		return *low;
	if (high->value == NO_PAGE || (low->slot && !high->slot))
		return (struct od_operand){.valid = false};
	o.value = (high->value | ((bits + (uint64_t)hr->addend) & PAGE_MASK)) - (uint64_t)hr->addend;
	return o;
}

/* [bti c] adrp x16, page; ldr x17, [x16, #low]; add x16, x16, #low; [autia1716] br x17 */
static size_t read_plt(const uint8_t *code, uint64_t size, uint64_t addr, uint64_t entsize, struct lk_plt *out)
{
	size_t n = 0;

	(void)entsize;
	for (uint64_t at = 0; at + 12 <= size; at += 4) {
		uint32_t w[3], before = 0;
		uint64_t slot;

		memcpy(w, code + at, sizeof(w));
		if ((w[0] & 0x9f00001fu) != 0x90000010u || (w[1] & 0xffc003ffu) != 0xf9400211u ||
		    (w[2] & 0xffc003ffu) != 0x91000210u)
			continue;
		if (at)
			memcpy(&before, code + at - 4, 4);
		slot = ((addr + at) & ~PAGE_MASK) + (a64_adr_offset(w[0]) << 12) + (uint64_t)(w[1] >> 10 & 0xfff) * 8;
		out[n++] = (struct lk_plt){addr + at - (before == A64_BTI_C ? 4 : 0), slot};
	}
	return n;
}

/* Atomic operations are functions of libgcc that choose the instructions at run time; a program has those it uses. */
static const char *option_without(const char *name)
{
	static const char *const operations[] = {"cas", "swp", "ldadd", "ldclr", "ldeor", "ldset"};

	if (strncmp(name, "__aarch64_", 10))
		return NULL;
	for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++)
		if (!strncmp(name + 10, operations[i], strlen(operations[i])))
			return "-mno-outline-atomics";
	return NULL;
}

static const struct od_arch_modules modules = {
    .strings_aligned = true,
    .indirect = "-fPIE",
    .slot = find_slot,
    .use = od_aarch64_use,
    .own_address = od_aarch64_own_address,
    .link_mask = link_mask,
    .without = option_without,
    .operand = read_operand,
    .as_linked = as_linked,
    .tls_offset = tls_offset,
    .join = join,
    .plt = read_plt,
};

const struct od_arch od_aarch64 = {
    .name = "aarch64",
    .machine = EM_AARCH64,
    .rel = find_rel,
    .only_loads = od_aarch64_only_loads,
    .modules = &modules,
};
