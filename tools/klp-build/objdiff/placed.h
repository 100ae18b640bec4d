/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a link put what is in a section of an object. A linker that shortens code (relaxation) leaves bytes out of the
 * middle of functions; elsewhere the distances are those of the object.
 */
#ifndef KLP_OBJDIFF_PLACED_H
#define KLP_OBJDIFF_PLACED_H

#include "tools/klp-build/objdiff/linked.h"

/* Bytes of the section that are not in the linked file, and how many are not there before them. */
struct od_cut {
	uint64_t off, len, before;
};

struct od_placed {
	struct od_pool *pool;
	const struct od_sec *s;
	const struct lk *l;
	uint64_t from, size;        /* in the section: the function or datum */
	uint64_t addr, linked_size; /* in the linked file */
	struct od_cut *cut;         /* by offset */
	size_t count, room;
	const char *why; /* NULL, or why the linked file cannot have been made of the section */
	uint64_t why_at; /* from its start in the linked file */
};

void od_placed_cut(struct od_placed *p, uint64_t off, uint64_t len);
/* The address of what is at the offset; of what was left out, of what follows it. false: it cannot be told. */
bool od_placed_at(const struct od_placed *p, uint64_t off, uint64_t *addr);
/* The byte at the offset was left out. */
bool od_placed_gone(const struct od_placed *p, uint64_t off);
#endif
