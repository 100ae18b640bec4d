/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether two sections are equal. Read-only data without a name, which belongs to whoever refers to it, is compared by
 * content wherever it is referred to; it may lead to more of its kind, and in circles. So a comparison assumes all
 * pairs that it meets to be equal until one of them is found to differ: then it was wrong about the others too, and
 * forgets them.
 */
#include <stdlib.h>
#include <string.h>
#include "tools/klp-build/objdiff/diff.h"

enum { OD_PAIR_FREE, OD_PAIR_FORGOTTEN, OD_PAIR_ASSUMED, OD_PAIR_EQUAL, OD_PAIR_DIFFERENT };

static size_t hash_pair(const struct od_sec *a, const struct od_sec *b)
{
	uint64_t h = (uint64_t)(uintptr_t)a * 0x9e3779b97f4a7c15ull ^ (uint64_t)(uintptr_t)b * 0xc2b2ae3d27d4eb4full;

	return (size_t)(h ^ h >> 29);
}

static struct od_pair *find_pair(struct od_pairs *p, struct od_sec *a, struct od_sec *b)
{
	size_t i = hash_pair(a, b) & (p->size - 1);

	while (p->slot[i].state != OD_PAIR_FREE && (p->slot[i].a != a || p->slot[i].b != b))
		i = (i + 1) & (p->size - 1);
	return &p->slot[i];
}

/* Its place, which a later call may move. */
static struct od_pair *pair_of(struct od *d, struct od_sec *a, struct od_sec *b)
{
	struct od_pairs *p = &d->pairs, old = *p;
	struct od_pair *at;

	if (2 * p->used >= p->size) {
		p->size = old.size ? 2 * old.size : 64;
		p->slot = od_alloc(&d->pool, p->size, sizeof(*p->slot));
		for (size_t i = 0; i < old.size; i++)
			if (old.slot[i].state != OD_PAIR_FREE)
				*find_pair(p, old.slot[i].a, old.slot[i].b) = old.slot[i];
	}
	at = find_pair(p, a, b);
	if (at->state == OD_PAIR_FREE) {
		*at = (struct od_pair){a, b, OD_PAIR_FORGOTTEN};
		p->used++;
	}
	return at;
}

/* To be compared as well. false: it is known that they differ. */
static bool assume_equal(struct od *d, struct od_sec *a, struct od_sec *b)
{
	struct od_pairs *p = &d->pairs;
	struct od_pair *at = pair_of(d, a, b);

	if (at->state != OD_PAIR_FORGOTTEN)
		return at->state != OD_PAIR_DIFFERENT;
	at->state = OD_PAIR_ASSUMED;
	p->todo = od_room(&d->pool, p->todo, p->todo_count, &p->todo_room, sizeof(*p->todo));
	p->todo[p->todo_count++] = *at;
	return true;
}

bool od_equal_content(const struct od_sec *a, uint64_t ao, const struct od_sec *b, uint64_t bo)
{
	uint64_t w = a->entsize;

	if (a->entsize != b->entsize || !w || ao >= a->size || bo >= b->size || !a->data || !b->data)
		return false;
	if (a->kind == OD_CONSTS)
		return ao % w == bo % w && a->size - (ao - ao % w) >= w && b->size - (bo - bo % w) >= w &&
		       !memcmp(a->data + ao - ao % w, b->data + bo - bo % w, w);
	for (;; ao += w, bo += w) {
		bool end = true;

		if (a->size - ao < w || b->size - bo < w || memcmp(a->data + ao, b->data + bo, w))
			return false;
		for (uint64_t i = 0; i < w; i++)
			end = end && !a->data[ao + i];
		if (end)
			return true;
		if (a->size - ao == w || b->size - bo == w)
			return false;
	}
}

static bool equal_targets(struct od *d, const struct od_sec *as, const struct od_rel *ar, const struct od_sec *bs,
			  const struct od_rel *br)
{
	const struct od_sym *x = &as->obj->sym[ar->sym], *y = &bs->obj->sym[br->sym];
	bool xl = x->shndx && x->shndx < as->obj->sec_count, yl = y->shndx && y->shndx < bs->obj->sec_count;
	struct od_sec *p, *q;
	struct od_target t, u;

	if (!ar->sym != !br->sym)
		return false;
	if (!xl || !yl)
		return xl == yl && x->shndx == y->shndx && ar->addend == br->addend && !strcmp(x->name, y->name) &&
		       x->value == y->value && x->bind == y->bind && x->vis == y->vis &&
		       (x->shndx != OD_COMMON || x->size == y->size);
	if ((x->bind != STB_LOCAL || y->bind != STB_LOCAL) &&
	    (x->bind == STB_LOCAL || y->bind == STB_LOCAL || strcmp(x->name, y->name)))
		return false;
	p = &as->obj->sec[x->shndx];
	q = &bs->obj->sec[y->shndx];
	t = (struct od_target){p, x, (int64_t)(x->value + (uint64_t)ar->addend)};
	u = (struct od_target){q, y, (int64_t)(y->value + (uint64_t)br->addend)};
	if (p->kind != q->kind)
		return false;
	if (p->kind == OD_STRINGS || p->kind == OD_CONSTS) {
		if ((x->type == STT_SECTION) != (y->type == STT_SECTION))
			return false;
		return (x->type == STT_SECTION || ar->addend == br->addend) &&
		       od_equal_content(p, od_content_offset(as, ar, &t), q, od_content_offset(bs, br, &u));
	}
	if (t.off != u.off)
		return false;
	return p->kind == OD_ANON ? assume_equal(d, p, q) : p->peer == q;
}

/* The place that a low half names, and what the high half there means: another function may have that one. */
static bool equal_references(struct od *d, const struct od_sec *as, const struct od_rel *ar, const struct od_sec *bs,
			     const struct od_rel *br)
{
	const struct od_rel *x, *y;

	if (ar->type != br->type || !equal_targets(d, as, ar, bs, br))
		return false;
	if (!od_rel_info(as, ar).by_label)
		return true;
	x = od_rel_meant(&as, ar);
	y = od_rel_meant(&bs, br);
	if (!x || !y)
		return false; /* nobody can say what they mean */
	return x->type == y->type && equal_targets(d, as, x, bs, y);
}

/* The two alone: what they lead to is assumed. */
static bool equal_by_themselves(struct od *d, const struct od_sec *a, const struct od_sec *b)
{
	if (a->size != b->size || a->align != b->align || !a->data != !b->data || a->rel_count != b->rel_count ||
	    (a->flags ^ b->flags) & (SHF_WRITE | SHF_ALLOC | SHF_EXECINSTR | SHF_TLS) ||
	    (a->data && memcmp(a->data, b->data, a->size)))
		return false;
	for (size_t i = 0; i < a->rel_count; i++)
		if (a->rel[i].off != b->rel[i].off || !equal_references(d, a, &a->rel[i], b, &b->rel[i]))
			return false;
	return true;
}

bool od_equal_sections(struct od *d, struct od_sec *a, struct od_sec *b)
{
	struct od_pairs *p = &d->pairs;
	bool equal;

	p->todo_count = 0;
	equal = a->kind == OD_ANON ? assume_equal(d, a, b) : equal_by_themselves(d, a, b);
	for (size_t i = 0; i < p->todo_count && equal; i++)
		equal = equal_by_themselves(d, p->todo[i].a, p->todo[i].b);
	for (size_t i = 0; i < p->todo_count; i++)
		pair_of(d, p->todo[i].a, p->todo[i].b)->state = equal ? OD_PAIR_EQUAL : OD_PAIR_FORGOTTEN;
	if (!equal && a->kind == OD_ANON)
		pair_of(d, a, b)->state = OD_PAIR_DIFFERENT;
	return equal;
}
