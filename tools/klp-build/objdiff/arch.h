/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between architectures when objects are compared, extracted and resolved. arch/NAME/ fills one struct
 * od_arch; arch.c has the list. All architectures are in every build: the tree that is patched may be for another
 * machine. Generic files name no relocation and decode no instruction.
 *
 * A reference can take two instructions with a relocation each (a page and the place in it). Such halves are compared
 * one by one, as everything is; what the link made of them can be read only from both. A low half may name the
 * instruction of the high half instead of what is meant: it means what that one's relocation says.
 *
 * What only extraction and resolution need is in struct od_arch_modules.
 */
#ifndef KLP_OBJDIFF_ARCH_H
#define KLP_OBJDIFF_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct od_sec;
struct od_rel;
struct lk;
struct lk_plt;
struct od_placed;

enum od_rel_class {
	OD_REL_UNKNOWN = 0, /* compared, but refused in what changes */
	OD_REL_NONE,
	OD_REL_ADDRESS,
	OD_REL_GOT, /* of a slot that holds the address */
	OD_REL_TLS,
};

enum od_half { OD_WHOLE = 0, OD_HALF_HIGH, OD_HALF_LOW };

/* Of relocations that make a distance together, at one place: what each does with the bits there. */
enum od_term { OD_NO_TERM = 0, OD_TERM_SET, OD_TERM_ADD, OD_TERM_SUB };

struct od_rel_info {
	enum od_rel_class class;
	enum od_half half;
	uint8_t width; /* bytes that must be there */
	uint8_t bias;  /* of operands of code: the addend is that much less than what is meant */
	bool pc;       /* relative to its own place */
	bool word;     /* an address in data: the link may leave it to the dynamic linker */
	bool by_label; /* a low half whose symbol is the place of its high half */
	bool
	    aligns; /* OD_REL_NONE: the addend's bytes of NOPs align what is behind them, if the linker keeps so many */
	enum od_term term;
	uint8_t bits; /* of a term */
};

/* What a relocation of a linked file fills in. */
enum od_slot {
	OD_SLOT_OTHER = 0,
	OD_SLOT_JUMP,
	OD_SLOT_ADDRESS,
	OD_SLOT_RELATIVE,
	OD_SLOT_COPY,
	OD_SLOT_TPOFF,
	OD_SLOT_DTPMOD,
	OD_SLOT_DESC,
};

/* How code uses what a relocation refers to. */
enum od_use { OD_USE_CALL, OD_USE_LOAD, OD_USE_ADDRESS };

/* What stands in linked code where a relocation was. */
struct od_operand {
	bool valid;
	bool whole;     /* value is all of it; else one half */
	bool slot;      /* value is a slot's address (of a half: leads to one) */
	bool gone;      /* a half that the link left out: the other one is all of the value */
	bool alone;     /* a half that is all of the value */
	uint64_t value; /* the symbol's address, without the addend; of a half: with it */
};

/* What modules are made with. */
struct od_arch_modules {
	/* The same string is always at a multiple of what it was compiled for: the instructions may rely on that. */
	bool strings_aligned;
	/* Every global that code reaches through a slot is in the table of dynamic symbols. */
	bool slots_export;
	bool reads_tls;           /* operand and join read thread-local references: offsets in the block, or slots */
	const char *indirect;     /* gcc's option by which code reaches other objects' data through slots */
	const char *data_pointer; /* the symbol whose address a register always holds; NULL: there is none */
	/* The option without which code does not call this function of the compiler's library; NULL: it is none. */
	const char *(*without)(const char *name);

	enum od_slot (*slot)(uint32_t type);

	enum od_use (*use)(const struct od_sec *s, const struct od_rel *r);
	/* At or behind `at`, code takes the address of its own function without a relocation: *r is what it would have.
	 */
	bool (*own_address)(const struct od_sec *s, uint64_t at, struct od_rel *r);

	/* The bits of the byte at `off` of the section that the link may change on behalf of the relocation. */
	uint8_t (*link_mask)(const struct od_rel *r, uint64_t off);
	/* Not for words. */
	struct od_operand (*operand)(const struct lk *l, uint64_t at, const struct od_rel *r);
	/*
	 * The instruction that the relocation is in is the object's, or one that the psABI lets a link write in its
	 * place. Only what link_mask leaves open. NULL: it leaves only operands open.
	 */
	bool (*as_linked)(const struct lk *l, uint64_t at, const struct od_sec *s, const struct od_rel *r);
	/* What stands there is the offset of the thread-local variable that is at `offset` of the block. NULL: operand
	 * reads it, or nobody. */
	bool (*tls_offset)(const struct lk *l, uint64_t at, const struct od_sec *s, const struct od_rel *r,
			   uint64_t offset);
	/* The symbol's or slot's address from two valid halves. NULL where there are none. */
	struct od_operand (*join)(const struct od_operand *high, const struct od_rel *hr, const struct od_operand *low,
				  const struct od_rel *lr);
	/*
	 * Finds what the link left out of a function's code: placed.h. Every byte and instruction in the linked file
	 * is explained, but for where operands lead to. NULL: links leave nothing out.
	 */
	bool (*relaxed)(struct od_placed *p);
	/* The entries in a section of PLT entries; at most size / 8. */
	size_t (*plt)(const uint8_t *code, uint64_t size, uint64_t addr, uint64_t entsize, struct lk_plt *out);
};

struct od_arch {
	const char *name; /* in the module's metadata */
	uint16_t machine; /* EM_ */
	struct od_rel_info (*rel)(uint32_t type);
	/* The name of a type of OD_REL_UNKNOWN; NULL: it has none here, or no type has. */
	const char *(*rel_name)(uint32_t type);
	bool distances; /* in debug information are relocations, too */
	/* The address goes into a register that is used only as the base of loads before it is overwritten, or not at
	 * all. */
	bool (*only_loads)(const struct od_sec *s, const struct od_rel *r);
	const struct od_arch_modules *modules;
};

extern const struct od_arch od_x86_64, od_aarch64, od_riscv64;

/* NULL: klp-build does not know the machine. */
const struct od_arch *od_arch_find(uint16_t machine);
/* The names of all that it knows, for messages. */
#define OD_ARCH_NAMES "x86_64, aarch64 or riscv64"
#endif
