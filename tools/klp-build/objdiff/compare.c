/* SPDX-License-Identifier: Apache-2.0 */
/* Which section of the patched tree is which of the original, and whether the two are equal. */
#include <stdlib.h>
#include <string.h>
#include "tools/klp-build/objdiff/diff.h"

static bool correlatable(const struct od_sec *s)
{
	return s->kind == OD_CODE || s->kind == OD_RODATA || s->kind == OD_DATA || s->kind == OD_TLS ||
	       s->kind == OD_INIT || s->kind == OD_EXCEPT || s->kind == OD_UNKNOWN;
}

/* The functions and data of one unit that refer to a section, by base name: who a static local belongs to. */
struct referrers {
	const char **name;
	size_t count;
};

static void add_referrer(struct od_pool *p, struct referrers *r, const char *name)
{
	for (size_t i = 0; i < r->count; i++)
		if (!strcmp(r->name[i], name))
			return;
	if (!(r->count & (r->count - 1))) {
		const char **more = od_alloc(p, r->count ? 2 * r->count : 1, sizeof(*more));

		if (r->count)
			memcpy(more, r->name, r->count * sizeof(*more));
		r->name = more;
	}
	r->name[r->count++] = name;
}

static struct referrers *find_referrers(struct od_pool *p, const struct od_obj *o, const char **base)
{
	struct referrers *all = od_alloc(p, o->sec_count + 1, sizeof(*all));

	for (size_t i = 0; i < o->sec_count; i++) {
		const struct od_sec *s = &o->sec[i], *h = s->hot ? s->hot : s;

		if (!correlatable(s))
			continue;
		for (size_t k = 0; k < s->rel_count; k++) {
			uint32_t t = o->sym[s->rel[k].sym].shndx;
			const char *name = base[h->index];

			if (!t || t >= o->sec_count || !name)
				continue;
			/* a clone refers on behalf of the function that it was cut from */
			if (od_has_clone_suffix(name) && strchr(name, '.'))
				name = od_printf(p, "%.*s", (int)(strchr(name, '.') - name), name);
			add_referrer(p, &all[t], name);
		}
	}
	return all;
}

static bool share(const struct referrers *a, const struct referrers *b)
{
	if (!a->count && !b->count)
		return true;
	for (size_t i = 0; i < a->count; i++)
		for (size_t k = 0; k < b->count; k++)
			if (!strcmp(a->name[i], b->name[k]))
				return true;
	return false;
}

static void pair_up(struct od_sec *a, struct od_sec *b)
{
	a->peer = b;
	b->peer = a;
}

static const char **base_names(struct od_pool *p, const struct od_obj *o)
{
	const char **base = od_alloc(p, o->sec_count + 1, sizeof(*base));

	for (size_t i = 0; i < o->sec_count; i++)
		if (correlatable(&o->sec[i]))
			base[i] = o->sec[i].sym ? od_base_name(p, od_sec_label(&o->sec[i])) : o->sec[i].name;
	return base;
}

/* Variables may change between .bss and .data; anything else keeps its kind. */
static bool same_sort(const struct od_sec *a, const struct od_sec *b)
{
	return a->kind == b->kind && !a->sym == !b->sym;
}

static bool equal_bytes(const struct od_sec *a, const struct od_sec *b)
{
	return a->size == b->size && !a->data == !b->data && (!a->data || !memcmp(a->data, b->data, a->size));
}

/* A static local: its number means nothing, so it is known by its name and by who refers to it. */
static bool numbered(const struct od_sec *s, const char *base)
{
	return base && s->sym && s->kind != OD_CODE && strcmp(od_sec_label(s), base);
}

struct names {
	struct od_obj *o;
	const char **base;
	struct referrers *ref;
};

static bool could_be(const struct names *a, size_t i, const struct names *b, size_t k)
{
	return !a->o->sec[i].peer && !b->o->sec[k].peer && numbered(&a->o->sec[i], a->base[i]) &&
	       numbered(&b->o->sec[k], b->base[k]) && same_sort(&a->o->sec[i], &b->o->sec[k]) &&
	       !strcmp(a->base[i], b->base[k]) && share(&a->ref[i], &b->ref[k]);
}

/* How many sections of b the section i of a could be; *pick: the only one, or the nth. */
static size_t candidates(const struct names *a, size_t i, const struct names *b, bool same_bytes, size_t nth,
			 struct od_sec **pick)
{
	size_t n = 0;

	for (size_t k = 0; k < b->o->sec_count; k++) {
		if (!could_be(a, i, b, k) || (same_bytes && !equal_bytes(&a->o->sec[i], &b->o->sec[k])))
			continue;
		if (n++ == nth && pick)
			*pick = &b->o->sec[k];
	}
	return n;
}

/* The sure ones first: they are no candidates for the others any more. */
static void correlate_static_local(struct od *d, const struct names *b, size_t i, const struct names *a, bool sure)
{
	struct od_sec *s = &b->o->sec[i], *o = NULL;
	size_t there = candidates(b, i, a, false, 0, &o), here, nth = 0;

	if (!there)
		return;
	here = candidates(a, o->index, b, false, 0, NULL);
	if (there == 1 && here == 1) {
		pair_up(o, s);
		return;
	}
	if (candidates(b, i, a, true, 0, &o) == 1 && candidates(a, o->index, b, true, 0, NULL) == 1) {
		pair_up(o, s);
		return;
	}
	if (sure)
		return;
	if (there == here) {
		/* as many as before, so they are in their old order */
		for (size_t k = 0; k < i; k++)
			nth += could_be(b, k, b, i);
		candidates(b, i, a, false, nth, &o);
		if (!o->peer) {
			pair_up(o, s);
			return;
		}
	}
	if (s->kind == OD_DATA || s->kind == OD_TLS)
		od_refuse_sec(
		    d, s, "give the new static variable another name",
		    "several static variables of this name are used by the same function, and not as many as before; "
		    "it cannot be told which of them keeps its value");
}

static void correlate_unit(struct od *d, struct od_obj *a, struct od_obj *b)
{
	struct names an = {.o = a, .base = base_names(&d->pool, a)}, bn = {.o = b, .base = base_names(&d->pool, b)};

	an.ref = find_referrers(&d->pool, a, an.base);
	bn.ref = find_referrers(&d->pool, b, bn.base);
	/* 0: the same name, 1: equal but for numbers that the compiler gave */
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < b->sec_count; i++) {
			struct od_sec *s = &b->sec[i];

			if (!bn.base[i] || s->peer || numbered(s, bn.base[i]))
				continue;
			for (size_t k = 0; k < a->sec_count; k++) {
				struct od_sec *o = &a->sec[k];

				if (!an.base[k] || o->peer || !same_sort(o, s) || strcmp(an.base[k], bn.base[i]) ||
				    numbered(o, an.base[k]) || (!pass && strcmp(od_sec_label(o), od_sec_label(s))))
					continue;
				pair_up(o, s);
				break;
			}
		}
	}
	for (int sure = 1; sure >= 0; sure--)
		for (size_t i = 0; i < b->sec_count; i++)
			if (numbered(&b->sec[i], bn.base[i]) && !b->sec[i].peer)
				correlate_static_local(d, &bn, i, &an, sure);
}

void od_correlate(struct od *d)
{
	for (size_t i = 0; i < d->count; i++)
		correlate_unit(d, &d->before[i], &d->after[i]);
}

static bool equal_sections(struct od *d, struct od_sec *a, struct od_sec *b);

static bool equal_content(const struct od_sec *a, uint64_t ao, const struct od_sec *b, uint64_t bo)
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
		       x->value == y->value && x->bind == y->bind && x->vis == y->vis;
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
		       equal_content(p, od_content_offset(as, ar, &t), q, od_content_offset(bs, br, &u));
	}
	if (t.off != u.off)
		return false;
	return p->kind == OD_ANON ? equal_sections(d, p, q) : p->peer == q;
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
		return !x && !y;
	return x->type == y->type && equal_targets(d, as, x, bs, y);
}

static bool equal_sections(struct od *d, struct od_sec *a, struct od_sec *b)
{
	bool equal = true;

	if (a->kind == OD_ANON) {
		if (a->compared == b)
			return a->compared_equal; /* also while it is being compared: a cycle adds no difference */
		a->compared = b;
		a->compared_equal = true;
	}
	if (a->size != b->size || a->align != b->align || !a->data != !b->data || a->rel_count != b->rel_count ||
	    (a->flags ^ b->flags) & (SHF_WRITE | SHF_ALLOC | SHF_EXECINSTR | SHF_TLS))
		equal = false;
	else if (a->data && memcmp(a->data, b->data, a->size))
		equal = false;
	for (size_t i = 0; equal && i < a->rel_count; i++) {
		const struct od_rel *x = &a->rel[i], *y = &b->rel[i];

		equal = x->off == y->off && equal_references(d, a, x, b, y);
	}
	if (a->kind == OD_ANON)
		a->compared_equal = equal;
	return equal;
}

void od_compare(struct od *d)
{
	for (size_t i = 0; i < d->count; i++) {
		struct od_obj *o = &d->after[i];

		for (size_t k = 0; k < o->sec_count; k++) {
			struct od_sec *s = &o->sec[k];

			if (!s->peer)
				continue;
			s->changed = !equal_sections(d, s->peer, s);
			/* a symbol that moved within its section moves everybody who calls it */
			if (s->sym && s->obj->sym[s->sym].value != s->peer->obj->sym[s->peer->sym].value)
				s->changed = true;
		}
	}
}
