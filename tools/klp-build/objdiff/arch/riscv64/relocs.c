/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relocations of riscv64 (RISC-V ABIs Specification 1.0, "ELF Object Files"). The list is that of
 * klp/arch/riscv64/reloc.c: what is refused there is not known here either, but for its name.
 *
 * R_RISCV_RELAX and R_RISCV_ALIGN say what the link may and must do to the code, and refer to nothing.
 */
#include <string.h>
#include "tools/klp-build/objdiff/arch/riscv64/insn.h"
#include "tools/klp-build/objdiff/arch/riscv64/relax.h"

static const struct rel {
	uint32_t type;
	struct od_rel_info info;
} rels[] = {
    {R_RISCV_NONE, {.class = OD_REL_NONE}},
    {R_RISCV_RELAX, {.class = OD_REL_NONE}},
    {R_RISCV_ALIGN, {.class = OD_REL_NONE, .aligns = true}},
    {R_RISCV_TPREL_ADD, {.class = OD_REL_TLS, .width = 2}}, /* marks the addition of tp */
    {R_RISCV_64, {.class = OD_REL_ADDRESS, .width = 8, .word = true}},
    {R_RISCV_32, {.class = OD_REL_ADDRESS, .width = 4}},
    {R_RISCV_32_PCREL, {.class = OD_REL_ADDRESS, .width = 4, .pc = true}},
    {OD_R_RISCV_PLT32, {.class = OD_REL_ADDRESS, .width = 4, .pc = true}},
    {R_RISCV_ADD8, {.class = OD_REL_ADDRESS, .width = 1, .term = OD_TERM_ADD, .bits = 8}},
    {R_RISCV_ADD16, {.class = OD_REL_ADDRESS, .width = 2, .term = OD_TERM_ADD, .bits = 16}},
    {R_RISCV_ADD32, {.class = OD_REL_ADDRESS, .width = 4, .term = OD_TERM_ADD, .bits = 32}},
    {R_RISCV_ADD64, {.class = OD_REL_ADDRESS, .width = 8, .term = OD_TERM_ADD, .bits = 64}},
    {R_RISCV_SUB6, {.class = OD_REL_ADDRESS, .width = 1, .term = OD_TERM_SUB, .bits = 6}},
    {R_RISCV_SUB8, {.class = OD_REL_ADDRESS, .width = 1, .term = OD_TERM_SUB, .bits = 8}},
    {R_RISCV_SUB16, {.class = OD_REL_ADDRESS, .width = 2, .term = OD_TERM_SUB, .bits = 16}},
    {R_RISCV_SUB32, {.class = OD_REL_ADDRESS, .width = 4, .term = OD_TERM_SUB, .bits = 32}},
    {R_RISCV_SUB64, {.class = OD_REL_ADDRESS, .width = 8, .term = OD_TERM_SUB, .bits = 64}},
    {R_RISCV_SET6, {.class = OD_REL_ADDRESS, .width = 1, .term = OD_TERM_SET, .bits = 6}},
    {R_RISCV_SET8, {.class = OD_REL_ADDRESS, .width = 1, .term = OD_TERM_SET, .bits = 8}},
    {R_RISCV_SET16, {.class = OD_REL_ADDRESS, .width = 2, .term = OD_TERM_SET, .bits = 16}},
    {R_RISCV_SET32, {.class = OD_REL_ADDRESS, .width = 4, .term = OD_TERM_SET, .bits = 32}},
    {R_RISCV_BRANCH, {.class = OD_REL_ADDRESS, .width = 4, .pc = true}},
    {R_RISCV_JAL, {.class = OD_REL_ADDRESS, .width = 4, .pc = true}},
    {R_RISCV_CALL, {.class = OD_REL_ADDRESS, .width = 8, .pc = true}},
    {R_RISCV_CALL_PLT, {.class = OD_REL_ADDRESS, .width = 8, .pc = true}},
    {R_RISCV_RVC_BRANCH, {.class = OD_REL_ADDRESS, .width = 2, .pc = true}},
    {R_RISCV_RVC_JUMP, {.class = OD_REL_ADDRESS, .width = 2, .pc = true}},
    {R_RISCV_HI20, {.class = OD_REL_ADDRESS, .width = 4, .half = OD_HALF_HIGH}},
    {R_RISCV_LO12_I, {.class = OD_REL_ADDRESS, .width = 4, .half = OD_HALF_LOW}},
    {R_RISCV_LO12_S, {.class = OD_REL_ADDRESS, .width = 4, .half = OD_HALF_LOW}},
    {R_RISCV_PCREL_HI20, {.class = OD_REL_ADDRESS, .width = 4, .pc = true, .half = OD_HALF_HIGH}},
    {R_RISCV_GOT_HI20, {.class = OD_REL_GOT, .width = 4, .pc = true, .half = OD_HALF_HIGH}},
    {R_RISCV_TLS_GOT_HI20, {.class = OD_REL_TLS, .width = 4, .pc = true, .half = OD_HALF_HIGH}},
    {R_RISCV_TLS_GD_HI20, {.class = OD_REL_TLS, .width = 4, .pc = true, .half = OD_HALF_HIGH}},
    /* Of whatever the high half is for. */
    {R_RISCV_PCREL_LO12_I, {.class = OD_REL_ADDRESS, .width = 4, .pc = true, .half = OD_HALF_LOW, .by_label = true}},
    {R_RISCV_PCREL_LO12_S, {.class = OD_REL_ADDRESS, .width = 4, .pc = true, .half = OD_HALF_LOW, .by_label = true}},
    {R_RISCV_TPREL_HI20, {.class = OD_REL_TLS, .width = 4, .half = OD_HALF_HIGH}},
    {R_RISCV_TPREL_LO12_I, {.class = OD_REL_TLS, .width = 4, .half = OD_HALF_LOW}},
    {R_RISCV_TPREL_LO12_S, {.class = OD_REL_TLS, .width = 4, .half = OD_HALF_LOW}},
};

static struct od_rel_info find_rel(uint32_t type)
{
	for (size_t i = 0; i < sizeof(rels) / sizeof(*rels); i++)
		if (rels[i].type == type)
			return rels[i].info;
	/* of a ULEB128 at least one byte is there */
	return (struct od_rel_info){.class = OD_REL_UNKNOWN, .width = 1};
}

static const char *find_name(uint32_t type)
{
#define NAMED(value, name)              \
	{                               \
		value, "R_RISCV_" #name \
	}
#define NAME(name) NAMED(R_RISCV_##name, name)
#define NAME_NEW(name) NAMED(OD_R_RISCV_##name, name)
	static const struct {
		uint32_t type;
		const char *name;
	} names[] = {
	    NAME(RELATIVE),
	    NAME(COPY),
	    NAME(JUMP_SLOT),
	    NAME(IRELATIVE),
	    NAME(TLS_DTPMOD32),
	    NAME(TLS_DTPMOD64),
	    NAME(TLS_DTPREL32),
	    NAME(TLS_DTPREL64),
	    NAME(TLS_TPREL32),
	    NAME(TLS_TPREL64),
	    NAME(RVC_LUI),
	    NAME(GPREL_I),
	    NAME(GPREL_S),
	    NAME(TPREL_I),
	    NAME(TPREL_S),
	    NAME_NEW(SET_ULEB128),
	    NAME_NEW(SUB_ULEB128),
	    NAME_NEW(GOT32_PCREL),
	    NAME_NEW(TLSDESC),
	    NAME_NEW(TLSDESC_HI20),
	    NAME_NEW(TLSDESC_LOAD_LO12),
	    NAME_NEW(TLSDESC_ADD_LO12),
	    NAME_NEW(TLSDESC_CALL),
	};

	if (type == OD_RISCV_OWN_ADDRESS)
		return "none, where code takes the address of its own function";
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].type == type)
			return names[i].name;
	return NULL;
}

static enum od_slot find_slot(uint32_t type)
{
	switch (type) {
	case R_RISCV_JUMP_SLOT:
		return OD_SLOT_JUMP;
	case R_RISCV_64:
		return OD_SLOT_ADDRESS;
	case R_RISCV_RELATIVE:
		return OD_SLOT_RELATIVE;
	case R_RISCV_COPY:
		return OD_SLOT_COPY;
	case R_RISCV_TLS_TPREL64:
		return OD_SLOT_TPOFF;
	case R_RISCV_TLS_DTPMOD64:
		return OD_SLOT_DTPMOD;
	case OD_R_RISCV_TLSDESC:
		return OD_SLOT_DESC;
	default:
		return OD_SLOT_OTHER;
	}
}

/* Of data: in code, where the link may leave bytes out, od_riscv64_relaxed sees every bit. */
static uint8_t link_mask(const struct od_rel *r, uint64_t off)
{
	struct od_rel_info i = find_rel(r->type);

	return off >= r->off && off - r->off < i.width ? 0xff : 0;
}

/* auipc t3, slot; ld t3, slot(t3); jalr t1, t3; nop */
static size_t read_plt(const uint8_t *code, uint64_t size, uint64_t addr, uint64_t entsize, struct lk_plt *out)
{
	size_t n = 0;

	(void)entsize;
	for (uint64_t at = 0; at + 16 <= size; at += 16) {
		uint32_t w[3];

		memcpy(w, code + at, sizeof(w));
		if ((w[0] & 0xfffu) == 0xe17u && (w[1] & 0xfffffu) == 0xe3e03u && w[2] == 0x000e0367u)
			out[n++] = (struct lk_plt){addr + at, addr + at + rv_high(w[0]) + rv_low_i(w[1])};
	}
	return n;
}

/* Prologues and epilogues of libgcc; a program has those it uses. */
static const char *option_without(const char *name)
{
	return !strncmp(name, "__riscv_save_", 13) || !strncmp(name, "__riscv_restore_", 16) ? "-mno-save-restore"
											     : NULL;
}

static const struct od_arch_modules modules = {
    .strings_aligned = true,
    .slots_export = true,
    .reads_tls = true,
    .indirect = "-fPIE",
    .data_pointer = "__global_pointer$",
    .without = option_without,
    .slot = find_slot,
    .use = od_riscv64_use,
    .own_address = od_riscv64_own_address,
    .link_mask = link_mask,
    .operand = od_riscv64_operand,
    .join = od_riscv64_join,
    .relaxed = od_riscv64_relaxed,
    .plt = read_plt,
};

const struct od_arch od_riscv64 = {
    .name = "riscv64",
    .machine = EM_RISCV,
    .rel = find_rel,
    .rel_name = find_name,
    .distances = true,
    .only_loads = od_riscv64_only_loads,
    .modules = &modules,
};
