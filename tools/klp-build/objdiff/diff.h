/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between two sets of objects, and the decision about every difference (invariant B1): contained in the
 * module, irrelevant by a named rule, or refused.
 */
#ifndef KLP_OBJDIFF_DIFF_H
#define KLP_OBJDIFF_DIFF_H

#include <jansson.h>
#include "tools/klp-build/objdiff/object.h"
#include "tools/klp-build/objdiff/objdiff.h"

struct od_def {
	struct od_sec *sec;
	const struct od_sym *sym;
};

/* The definitions of global names in one tree. */
struct od_map {
	struct od_map_slot {
		const char *name;
		struct od_def def;
	} * slot;
	size_t size; /* a power of two */
};

/* equal.c: pairs of sections that have been compared by content, or are being compared. */
struct od_pairs {
	struct od_pair {
		struct od_sec *a, *b;
		int state;
	} * slot, *todo;
	size_t size, used; /* of slot; size is a power of two */
	size_t todo_count, todo_room;
};

struct od {
	struct od_pool pool;
	struct od_pairs pairs;
	struct od_sec **to_include; /* decide.c */
	size_t to_include_count, to_include_room;
	bool including;
	const struct od_arch *arch;    /* of all objects */
	struct od_obj *before, *after; /* by unit; sec_count 0 where a tree does not have the unit */
	size_t count;
	struct od_map global_before, global_after;
	json_t *report, *refused, *notes, *again, *accepted;
	const json_t *statements;
};

/* some: the program has more units than these. */
int od_start(struct od *d, const struct klp_unit *units, size_t count, bool some, struct klp_error *e);
void od_end(struct od *d);

void od_refuse(struct od *d, const char *symbol, const char *section, const char *file, const char *advice,
	       const char *reason, ...) __attribute__((format(printf, 6, 7)));
void od_refuse_sec(struct od *d, struct od_sec *s, const char *advice, const char *reason, ...)
    __attribute__((format(printf, 4, 5)));
/* The author states that the section's datum may change: why, and it is in the report with `what` then. NULL: no
 * statement, or it does not help because the size changes. */
const char *od_accept(struct od *d, struct od_sec *s, const char *what);
void od_note(struct od *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void od_correlate(struct od *d);
void od_compare(struct od *d);
/* equal.c */
bool od_equal_sections(struct od *d, struct od_sec *a, struct od_sec *b);
/* Of strings and constants that the linker merges: those at the offsets. */
bool od_equal_content(const struct od_sec *a, uint64_t ao, const struct od_sec *b, uint64_t bo);
/* exports.c */
void od_compare_exports(struct od *d);
bool od_exports_come_and_go(struct od *d);
/* Chooses what is in the module and refuses the rest. */
void od_decide(struct od *d);
/* Refuses included sections that have relocations of OD_REL_UNKNOWN; making a module does that on its own. */
void od_refuse_unknown(struct od *d);
/* Takes a section into the module with all that it needs. */
void od_include(struct od *d, struct od_sec *s, const char *reason);

/* authored.c: the callbacks and states of the author's statements */
bool od_has_authored(const struct od *d);
void od_include_authored(struct od *d);
json_t *od_callbacks(struct od *d); /* {kind: {function, symbol}} */
json_t *od_states(struct od *d);    /* [{id, version, symbol}] */

/* Every changed section has been decided about: the rest is refused by name. */
void od_account(struct od *d);

/* What a relocation refers to: a section of the same tree (through global names as well) or nothing that the units
 * define. */
struct od_target {
	struct od_sec *sec;
	const struct od_sym *sym;
	int64_t off; /* st_value + addend: within sec, still with the bias of a PC-relative operand */
};
struct od_target od_resolve(const struct od_map *globals, const struct od_sec *s, const struct od_rel *r);
/* Start of the string or constant that is referred to, within its section. */
uint64_t od_content_offset(const struct od_sec *from, const struct od_rel *r, const struct od_target *t);
const struct od_def *od_find(const struct od_map *m, const char *name);
struct od_sec *od_owner(struct od_sec *s);
#endif
