/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reference of the module means in the running file (invariant B2, hazard S4): what the linked patched program
 * made of it, found again in the linked original, found again in the running file.
 */
#ifndef KLP_OBJDIFF_RESOLVE_H
#define KLP_OBJDIFF_RESOLVE_H

#include "tools/klp-build/objdiff/diff.h"
#include "tools/klp-build/objdiff/placed.h"

struct rs {
	struct od *d;
	struct lk original, patched, running, debug;
	bool have_debug;
	/* Nothing was linked: the objects are some of the program's, `original` is the running file with the symbols of
	 * `names`, and `patched` is nothing. */
	bool partial;
	bool same_layout;       /* a symbol of the original has its address in the running file too */
	const struct lk *names; /* symbols of the running file if the layout differs: its own or its debug file's */
	json_t *symbols;        /* of the metadata */
};

int rs_start(struct rs *r, struct od *d, const struct klp_objdiff_input *in, struct klp_error *e);

/* Address in the running file of a symbol of the linked original; false (refused) if it cannot be said. */
/* Says in the last refusal where the code is that runs otherwise than it was rebuilt, for who shows the two. */
void rs_note_code(struct od *d, const struct lk_sym *rebuilt, uint64_t running, uint64_t running_size);
bool rs_running_address(struct rs *r, const struct lk_sym *y, struct od_sec *for_whom, uint64_t *addr);
/* What a relocation became in a linked file. */
struct rs_place {
	bool valid, dynamic;
	uint64_t addr; /* S */
	uint64_t slot;
	const struct lk_sym *sym; /* dynamic */
};

/* Where a linked file has the section's function or datum, which begins at `addr` there; ->why if it cannot be. */
const struct od_placed *rs_place(struct rs *r, const struct lk *l, struct od_sec *s, uint64_t addr, uint64_t size);
/* The same by its symbol. NULL: that is not to be had. */
const struct od_placed *rs_placed(struct rs *r, const struct lk *l, struct od_sec *s);
struct od_operand rs_read_operand(struct rs *r, const struct od_placed *p, const struct od_rel *rel);
struct rs_place rs_read_place(struct rs *r, const struct od_placed *p, const struct od_rel *rel);

/* The linked original's function or datum is byte for byte in the running file. Refuses. */
bool rs_check_equal(struct rs *r, struct od_sec *before, const struct lk_sym *y, uint64_t running);

/* The same of the object that the datum or function is from; where nothing was linked. Refuses. */
bool rs_check_object(struct rs *r, struct od_sec *before, const struct lk_sym *y, uint64_t running);

/* What the link that made the running file does with the name; where nothing was linked. */
enum rs_binding {
	RS_OWN,     /* *sym: of the running file's own */
	RS_DYNAMIC, /* *sym: of its dynamic table */
	RS_UNCONFIRMED,
};
enum rs_binding rs_binding(struct rs *r, const struct od_sym *y, const struct lk_sym **sym, const char **why);
bool rs_is_executable(const struct rs *r);

enum rs_kind { RS_FAILED, RS_INTERNAL, RS_SYMBOL, RS_STRING, RS_NONE };
struct rs_result {
	enum rs_kind kind;
	struct od_target target; /* RS_INTERNAL, RS_STRING */
	size_t symbol;           /* RS_SYMBOL: index in symbols */
	const char *name;
	int64_t addend;
};
/* One relocation of a section that goes into the module. RS_FAILED: has been refused. */
struct rs_result rs_resolve(struct rs *r, struct od_sec *s, const struct od_rel *rel);
#endif
