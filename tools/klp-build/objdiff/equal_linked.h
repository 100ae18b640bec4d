/* SPDX-License-Identifier: Apache-2.0 */
/* What both comparisons with the running file need: equal_linked.c with a rebuilt program, equal_object.c without. */
#ifndef KLP_OBJDIFF_EQUAL_LINKED_H
#define KLP_OBJDIFF_EQUAL_LINKED_H

#include "tools/klp-build/objdiff/resolve.h"

#define RS_TABLES_DEEP 4u /* unnamed tables that lead to unnamed tables */

/* A section, or a table that belongs to it, in both files. */
struct rs_pair {
	struct rs *r;
	struct od_sec *s;
	const struct od_placed *a, *b; /* in the original, in the running file; the same if nothing was linked */
	unsigned deep;
};

/* The bits of a section's byte that the link may have changed. */
uint8_t rs_link_mask(const struct od_sec *s, uint64_t off);
/* Links of this architecture shorten code. */
bool rs_relaxes(const struct od_sec *s);
/* A place inside of a function that no symbol of a linked file names. */
bool rs_is_label(const struct od_target *t);
bool rs_label_at(const struct rs_pair *p, const struct lk *l, const struct od_target *t, uint64_t *addr);
/* The distances that relocations at one place make together are those of the linked files. */
bool rs_equal_distances(const struct rs_pair *p, const struct od_rel *rel);

#endif
