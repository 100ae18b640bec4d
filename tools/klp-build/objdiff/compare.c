/* SPDX-License-Identifier: Apache-2.0 */
/* Which section of the patched tree is which of the original. */
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

/* Sections of that name and kind in one object; *only: the last one. */
static size_t count_named(struct od_obj *o, const struct od_sec *like, struct od_sec **only)
{
	size_t n = 0;

	for (size_t i = 0; i < o->sec_count; i++)
		if (o->sec[i].kind == like->kind && o->sec[i].size && !strcmp(o->sec[i].name, like->name)) {
			*only = &o->sec[i];
			n++;
		}
	return n;
}

/*
 * Where several functions or data are in a section, in one of the trees at least, its first symbol says nothing about
 * the others: it is the section of that name. What is in it cannot be told apart, so any change of it is refused.
 */
static void correlate_shared(struct od_obj *a, struct od_obj *b)
{
	struct od_sec *o = NULL, *s = NULL;

	for (size_t i = 0; i < b->sec_count; i++)
		if (correlatable(&b->sec[i]) && b->sec[i].sym && count_named(b, &b->sec[i], &s) == 1 &&
		    count_named(a, s, &o) == 1 && (o->several || s->several))
			pair_up(o, s);
}

static void correlate_unit(struct od *d, struct od_obj *a, struct od_obj *b)
{
	struct names an = {.o = a, .base = base_names(&d->pool, a)}, bn = {.o = b, .base = base_names(&d->pool, b)};

	an.ref = find_referrers(&d->pool, a, an.base);
	bn.ref = find_referrers(&d->pool, b, bn.base);
	correlate_shared(a, b);
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

void od_compare(struct od *d)
{
	for (size_t i = 0; i < d->count; i++) {
		struct od_obj *o = &d->after[i];

		for (size_t k = 0; k < o->sec_count; k++) {
			struct od_sec *s = &o->sec[k];

			if (!s->peer)
				continue;
			s->changed = !od_equal_sections(d, s->peer, s);
			/* a symbol that moved within its section moves everybody who calls it */
			if (s->sym && s->peer->sym &&
			    s->obj->sym[s->sym].value != s->peer->obj->sym[s->peer->sym].value)
				s->changed = true;
		}
	}
}
