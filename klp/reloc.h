/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an architecture must say about relocations, for the linker (klp/link.c) and for reading the slots that the
 * target's dynamic linker has filled in (klp/resolve.c). Pure: bytes and numbers. Filled in by klp/arch/<name>/reloc.c.
 */
#ifndef KLP_RELOC_H
#define KLP_RELOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a relocation of a module needs from the linker before it can be applied. */
enum klp_reloc_class {
	KLP_REL_REFUSED, /* known by name only */
	KLP_REL_NONE,
	KLP_REL_VALUE,     /* the symbol's address; or, in a direct branch, a place that leads there */
	KLP_REL_GOT,       /* the place of a slot of the module that holds the symbol's address */
	KLP_REL_PAIRED,    /* the rest of what the relocation at the symbol's place is about, from that place */
	KLP_REL_ALIGN,     /* the code behind the addend's bytes of NOPs is at a multiple of the next power of two */
	KLP_REL_TPOFF,     /* offset from the thread pointer */
	KLP_REL_GOT_TPOFF, /* the place of a slot with that offset */
	KLP_REL_TLS_GD,    /* the place of a pair {module, offset}: arguments of __tls_get_addr */
	KLP_REL_TLS_LD,    /* the place of a pair {module, 0} */
	KLP_REL_DTPOFF,    /* offset in the object's TLS block */
	KLP_REL_TLS_DESC,  /* the place of a TLS descriptor */
	KLP_REL_TLS_DESC_CALL, /* marks the call through one */
};

struct klp_reloc_info {
	uint32_t type;
	const char *name;
	enum klp_reloc_class class;
	uint8_t width; /* bytes written */
	bool pc_relative, is_signed;
	uint8_t form; /* the architecture's own: how the value goes into an instruction */
};

/* The architecture's. */
extern const struct klp_reloc_info klp_reloc_list[];
extern const size_t klp_reloc_list_len;
/* NULL: not even the name is known. */
const struct klp_reloc_info *klp_reloc_find(uint32_t type);

/*
 * Is the relocated field at code[offset] the target of a direct call, jump or conditional jump? Decided by the opcode,
 * never by the relocation type, for compilers mark calls and address loads alike. code_len: size of the section.
 */
bool klp_reloc_is_branch(const struct klp_reloc_info *i, const uint8_t *code, uint64_t code_len, uint64_t offset,
			 int64_t addend);
/* Can another relocation be paired with it? */
bool klp_reloc_is_high(const struct klp_reloc_info *i);
/* Is it the operand of a call or jump through a slot? */
bool klp_reloc_is_slot_call(const struct klp_reloc_info *i, const uint8_t *code, uint64_t code_len, uint64_t offset);

/* Stores value + addend (- place) into field. -ERANGE if it does not fit. */
int klp_reloc_store(const struct klp_reloc_info *i, uint8_t *field, uint64_t place, uint64_t value, int64_t addend);

/*
 * Rewrites the use of a TLS descriptor into a load of a constant, where the offset from the thread pointer is known.
 * Called for both relocations of the sequence with the same offset. -EILSEQ: not the sequence that the ABI prescribes;
 * -ERANGE.
 */
int klp_reloc_relax_desc(const struct klp_reloc_info *i, uint8_t *code, uint64_t code_len, uint64_t offset,
			 int64_t tpoff);

/* A PLT entry of the module: a jump through the slot at `slot`. -ERANGE. */
#define KLP_MODULE_PLT_SIZE 16u
int klp_module_plt_encode(uint8_t out[KLP_MODULE_PLT_SIZE], uint64_t addr, uint64_t slot);

/* Slots of the target. */
enum klp_slot_kind {
	KLP_SLOT_OTHER,
	KLP_SLOT_JUMP,
	KLP_SLOT_ADDRESS,
	KLP_SLOT_TPOFF,
	KLP_SLOT_DTPMOD,
	KLP_SLOT_DTPOFF,
	KLP_SLOT_DESC
};
enum klp_slot_kind klp_slot_kind(uint32_t type);
/* Bytes at the place that a jump slot leads to: is it the stub that asks the dynamic linker to resolve entry `index`?
 */
#define KLP_LAZY_STUB_MAX 16u
bool klp_slot_is_lazy(const uint8_t *code, size_t len, size_t index);
/* Bytes of a TLS descriptor's resolver: does it merely return its argument, so that this is an offset from the thread
 * pointer? */
#define KLP_DESC_STATIC_MAX 16u
bool klp_desc_is_static(const uint8_t *code, size_t len);

/* The executable's own TLS block: where it lies from the thread pointer, as the static linker assumes. */
int64_t klp_tls_executable_offset(uint64_t vaddr, uint64_t memsz, uint64_t align);

#endif
