/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the unwinder share; not for users of the library. */
#ifndef KLP_UNWIND_INTERNAL_H
#define KLP_UNWIND_INTERNAL_H

#include "unwind/unwind.h"

#define KLP_UNW_MAX_FDES (1u << 22)
#define KLP_UNW_MAX_STATES 32    /* depth of DW_CFA_remember_state */
#define KLP_UNW_CACHE_ROWS 1024  /* a power of two */
#define KLP_UNW_LATE_MAX 64      /* of late_bytes */
#define KLP_UNW_LEAF_CALLERS 16  /* direct calls of a function that are kept */
#define KLP_UNW_SIGNAL_SIZE 4096 /* a saved context lies this near above the stack pointer */

/* Bounds-checked reading of target bytes: after the first failure `bad` stays set and every value is 0. */
struct klp_cursor {
	const uint8_t *base; /* for offsets */
	size_t pos, end;
	uint64_t addr; /* run-time address of base[0] */
	bool bad;
};

uint64_t klp_cursor_uint(struct klp_cursor *c, unsigned size);
uint64_t klp_cursor_uleb(struct klp_cursor *c);
int64_t klp_cursor_sleb(struct klp_cursor *c);
void klp_cursor_skip(struct klp_cursor *c, uint64_t len);
/* A pointer by its DW_EH_PE encoding; datarel: the address of .eh_frame_hdr, 0 where there is none. Indirect is
 * refused. */
uint64_t klp_cursor_pointer(struct klp_cursor *c, uint8_t enc, uint64_t datarel);

struct klp_unw_cie {
	uint64_t code_align;
	int64_t data_align;
	uint64_t ra;
	size_t insn, insn_end; /* offsets in .eh_frame */
	uint8_t fde_enc;
	bool signal, augmented;
};

struct klp_unw_entry {
	struct klp_unw_cie cie;
	uint64_t start, end;
	size_t insn, insn_end;
};

enum klp_unw_end_kind { KLP_UNW_END_NONE, KLP_UNW_END_MAIN, KLP_UNW_END_THREAD };

struct klp_unw_fde {
	uint64_t start, end;
	size_t offset; /* in .eh_frame */
	enum klp_unw_end_kind end_kind;
	bool overlaps; /* with a neighbour: which of the two holds cannot be known */
};

/* Where the C library's cancellable calls are made: unwind/leaf.c. */
struct klp_unw_leaf {
	uint64_t at;                          /* behind the system call; 0: there is none that is known */
	uint64_t start;                       /* of the function */
	uint64_t ret;                         /* behind the one call of it */
	uint64_t outer[KLP_UNW_LEAF_CALLERS]; /* behind the calls of the function that this is in */
	size_t outer_count;
};

struct klp_unw_image {
	uint64_t text_start, text_end;
	uint8_t *eh_frame;
	size_t eh_frame_len;
	uint64_t eh_frame_addr, hdr_addr;
	struct klp_unw_fde *fde; /* sorted by start */
	size_t fde_count;
	struct klp_unw_leaf leaf;
};

enum klp_unw_cfa_kind { KLP_UNW_CFA_NONE, KLP_UNW_CFA_REG, KLP_UNW_CFA_DEREF, KLP_UNW_CFA_PLT };
enum klp_unw_rule_kind {
	KLP_UNW_RULE_DEFAULT,
	KLP_UNW_RULE_UNDEFINED,
	KLP_UNW_RULE_SAME,
	KLP_UNW_RULE_OFFSET,     /* saved at CFA + off */
	KLP_UNW_RULE_VAL_OFFSET, /* is CFA + off */
	KLP_UNW_RULE_REGISTER,   /* is in register reg */
	KLP_UNW_RULE_ADDRESS,    /* saved at reg + off */
};

struct klp_unw_rule {
	uint8_t kind, reg;
	int64_t off;
};

struct klp_unw_row {
	uint8_t cfa_kind, cfa_reg;
	int64_t cfa_off;
	uint8_t ra;
	bool signal;
	bool ra_signed; /* the return address carries a pointer authentication code */
	struct klp_unw_rule rule[KLP_UNW_REGS];
};

/* What a signal trampoline's rows do not say, and the kernel's ABI does: where the interrupted registers lie, from the
 * stack pointer. */
struct klp_unw_context {
	unsigned first;       /* DWARF number of the first register */
	unsigned regs, count; /* where it lies, and how many follow each other */
	unsigned sp, pc;
	unsigned size; /* of all of it */
};

struct klp_unw_arch {
	unsigned machine;
	unsigned sp, ra;
	/* The column of the return address is a register of its own right, which a call overwrites (a link register).
	 */
	bool ra_is_link;
	bool
	    cfa_register_first; /* the assembler's CIE says with def_cfa_register alone that the CFA is that register */
	bool signs_ra;          /* 0x2d is DW_CFA_AARCH64_negate_ra_state */
	uint64_t ra_mask;       /* bits of a signed return address that are the address */
	unsigned red_zone;      /* below the stack pointer a popped register still has its value */
	unsigned late_bytes;    /* so far behind a change of the stack pointer its row can come too late */
	unsigned regs;          /* DWARF registers that are tracked */
	uint64_t preserved;     /* registers that a call preserves */
	/* What a landing pad is given (EH_RETURN_DATA_REGNO). Only a function that leaves by __builtin_eh_return saves
	 * them. */
	uint64_t landing;
	/* The one expression that the PLT of this architecture has; NULL when it has none. */
	const uint8_t *plt_expr;
	size_t plt_expr_len;
	uint64_t (*plt_cfa)(const struct klp_unw_regs *regs);
	/* How much the instruction at code adds to the stack pointer, as an addition of a constant; 0: it is none.
	 * *insn: its length. */
	int64_t (*sp_adds)(const uint8_t *code, size_t len, size_t *insn);
	/* Registers that the instruction at code loads from the stack, which a row behind it must not look for there: a
	 * bit each; NULL: rows are never late there. */
	uint64_t (*reloads)(const uint8_t *code, size_t len, size_t *insn);
	/* NULL: a signal frame's rows say all. Else: does code begin the kernel's signal trampoline, with this context?
	 */
	const struct klp_unw_context *(*signal_context)(const uint8_t *code, size_t len);
	/*
	 * Is [start, end) a leaf that makes one system call and returns, and leaves stack pointer and link register
	 * alone until then? The address behind the call, 0: no. NULL: a return address is in memory as soon as there is
	 * a call. text: bytes of [addr, addr + len).
	 */
	uint64_t (*cancel_leaf)(const uint8_t *text, size_t len, uint64_t addr, uint64_t start, uint64_t end);
	/* Is the instruction at text[at] a direct jump? links: a call, which returns to ret. */
	bool (*direct_jump)(const uint8_t *text, size_t len, size_t at, uint64_t addr, uint64_t *target, uint64_t *ret,
			    bool *links);
	size_t insn_step; /* between two places where an instruction can be */
	/* Is [start, end) what a new thread runs first? text: bytes of [addr, addr + len). */
	bool (*thread_start)(const uint8_t *text, size_t len, uint64_t addr, uint64_t start, uint64_t end);
};
extern const struct klp_unw_arch klp_unw_x86_64;
extern const struct klp_unw_arch klp_unw_aarch64;
extern const struct klp_unw_arch klp_unw_riscv64;

struct klp_unw_cached {
	uint64_t lookup; /* 0: empty */
	enum klp_reason reason;
	int object;
	const struct klp_unw_fde *fde;
	struct klp_unw_row row;
};

struct klp_unw_span {
	uint64_t start, end;
	enum klp_unw_range_kind kind;
};

struct klp_unw_space {
	const struct klp_unw_arch *arch;
	struct klp_unw_image *image;
	size_t image_count;
	struct klp_unw_span *span;
	size_t span_count;
	struct klp_unw_cached *cache; /* by lookup address; holds no truth of its own */
};

/* ehframe.c */
int klp_unw_parse_fde(const struct klp_unw_image *im, size_t offset, struct klp_unw_entry *out);
/* For many in a row: *known is the offset of the CIE that out->cie holds already (neighbours share theirs), SIZE_MAX at
 * first. */
int klp_unw_parse_next(const struct klp_unw_image *im, size_t offset, struct klp_unw_entry *out, size_t *known);
int klp_unw_build_index(struct klp_unw_image *im, const void *hdr, size_t hdr_len, struct klp_error *e);
const struct klp_unw_fde *klp_unw_find_fde(const struct klp_unw_image *im, uint64_t lookup);
/* cfa.c: KLP_OK or KLP_UNW_BAD_ROW */
enum klp_reason klp_unw_run_cfa(const struct klp_unw_arch *arch, const struct klp_unw_image *im,
				const struct klp_unw_entry *fde, uint64_t lookup, struct klp_unw_row *row);
/* end.c */
void klp_unw_find_ends(const struct klp_unw_arch *arch, struct klp_unw_image *im, const struct klp_unw_object *o);
/* leaf.c */
void klp_unw_find_leaf(const struct klp_unw_arch *arch, struct klp_unw_image *im, const struct klp_unw_object *o);
bool klp_unw_leaf_returns(const struct klp_unw_leaf *leaf, uint64_t pc);
/* space.c: the row for one address, through the cache; its reason is KLP_OK, NO_MODULE, NO_ROW or BAD_ROW. */
const struct klp_unw_cached *klp_unw_find_row(const struct klp_unw_space *s, uint64_t lookup);

#endif
