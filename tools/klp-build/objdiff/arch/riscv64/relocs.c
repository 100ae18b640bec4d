/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relocations of riscv64 (RISC-V ABIs Specification 1.0, "ELF Object Files"). The list is that of
 * klp/arch/riscv64/reloc.c: what is refused there is not known here either, but for its name.
 *
 * R_RISCV_RELAX and R_RISCV_ALIGN say what the link may and must do to the code, and refer to nothing.
 */
#include "tools/klp-build/objdiff/arch/riscv64/insn.h"

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

static const struct rel {
	uint32_t type;
	struct od_rel_info info;
} rels[] = {
    {R_RISCV_NONE, {.class = OD_REL_NONE}},
    {R_RISCV_RELAX, {.class = OD_REL_NONE}},
    {R_RISCV_ALIGN, {.class = OD_REL_NONE}},
    {R_RISCV_TPREL_ADD, {.class = OD_REL_TLS, .width = 2}}, /* marks the addition of tp */
    {R_RISCV_64, {.class = OD_REL_ADDRESS, .width = 8, .word = true}},
    {R_RISCV_32, {.class = OD_REL_ADDRESS, .width = 4}},
    {R_RISCV_32_PCREL, {.class = OD_REL_ADDRESS, .width = 4, .pc = true}},
    {OD_R_RISCV_PLT32, {.class = OD_REL_ADDRESS, .width = 4, .pc = true}},
    {R_RISCV_ADD8, {.class = OD_REL_ADDRESS, .width = 1}},
    {R_RISCV_ADD16, {.class = OD_REL_ADDRESS, .width = 2}},
    {R_RISCV_ADD32, {.class = OD_REL_ADDRESS, .width = 4}},
    {R_RISCV_ADD64, {.class = OD_REL_ADDRESS, .width = 8}},
    {R_RISCV_SUB6, {.class = OD_REL_ADDRESS, .width = 1}},
    {R_RISCV_SUB8, {.class = OD_REL_ADDRESS, .width = 1}},
    {R_RISCV_SUB16, {.class = OD_REL_ADDRESS, .width = 2}},
    {R_RISCV_SUB32, {.class = OD_REL_ADDRESS, .width = 4}},
    {R_RISCV_SUB64, {.class = OD_REL_ADDRESS, .width = 8}},
    {R_RISCV_SET6, {.class = OD_REL_ADDRESS, .width = 1}},
    {R_RISCV_SET8, {.class = OD_REL_ADDRESS, .width = 1}},
    {R_RISCV_SET16, {.class = OD_REL_ADDRESS, .width = 2}},
    {R_RISCV_SET32, {.class = OD_REL_ADDRESS, .width = 4}},
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
    {R_RISCV_TPREL_HI20, {.class = OD_REL_TLS, .width = 4}},
    {R_RISCV_TPREL_LO12_I, {.class = OD_REL_TLS, .width = 4}},
    {R_RISCV_TPREL_LO12_S, {.class = OD_REL_TLS, .width = 4}},
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

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].type == type)
			return names[i].name;
	return NULL;
}

/* Compared only: linked code is not read, and no module is made. */
const struct od_arch od_riscv64 = {
    .name = "riscv64",
    .machine = EM_RISCV,
    .rel = find_rel,
    .rel_name = find_name,
    .only_loads = od_riscv64_only_loads,
};
