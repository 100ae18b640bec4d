/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The symbols that other objects can see (invariant B1: every changed exported symbol is accounted for). Where a name
 * leads, how it binds and how far it is visible is not in any section's bytes.
 */
#include <stdlib.h>
#include <string.h>
#include "tools/klp-build/objdiff/diff.h"

static bool is_exported(const struct od_sym *y)
{
	return y->bind != STB_LOCAL && y->shndx != SHN_UNDEF && *y->name;
}

static int by_name(const void *a, const void *b)
{
	const struct od_sym *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static const struct od_sym **sorted_exports(struct od_pool *p, const struct od_obj *o, size_t *count)
{
	const struct od_sym **y = od_alloc(p, o->sym_count + 1, sizeof(const struct od_sym *));

	*count = 0;
	for (size_t i = 1; i < o->sym_count; i++)
		if (is_exported(&o->sym[i]))
			y[(*count)++] = &o->sym[i];
	qsort(y, *count, sizeof(const struct od_sym *), by_name);
	return y;
}

static struct od_sec *sec_of(struct od_obj *o, const struct od_sym *y)
{
	return y->shndx < o->sec_count ? &o->sec[y->shndx] : NULL;
}

/* A constant may become a variable and the other way round: its users are compared. */
static bool is_datum(const struct od_sec *s)
{
	return s->kind == OD_RODATA || s->kind == OD_DATA;
}

static void compare_export(struct od *d, struct od_obj *a, const struct od_sym *x, struct od_obj *b,
			   const struct od_sym *y)
{
	struct od_sec *p = sec_of(a, x), *q = sec_of(b, y);

	if (!p || !q) {
		/* absolute and common symbols: the alignment of these is their value */
		if (x->shndx != y->shndx || x->value != y->value || (x->shndx == OD_COMMON && x->size != y->size))
			od_refuse(d, y->name, "", b->unit, "keep what the name stands for",
				  "an absolute or common symbol changed");
		return;
	}
	if ((p->peer && p->peer != q) || (q->peer && q->peer != p) ||
	    (p->kind != q->kind && !(is_datum(p) && is_datum(q))) ||
	    (x->type == STT_GNU_IFUNC) != (y->type == STT_GNU_IFUNC) ||
	    (!p->peer && p->kind == q->kind && (is_datum(p) || p->kind == OD_CODE || p->kind == OD_TLS))) {
		od_refuse(d, y->name, q->name, b->unit, "keep what the name stands for",
			  "the name stands for something else in the patched program");
		return;
	}
	/* what other objects read by that name has no user here that would be compared */
	if (((p->kind == OD_STRINGS || p->kind == OD_CONSTS) && !od_equal_content(p, x->value, q, y->value)) ||
	    (p->kind == OD_ANON && (x->value != y->value || !od_equal_sections(d, p, q)))) {
		od_refuse(d, y->name, q->name, b->unit, "keep the constant, and give the new one another name",
			  "a constant that other objects may read changed");
		return;
	}
	/* a symbol that moved within its section moves everybody who calls it */
	if (p->peer && (x->value != y->value || x->bind != y->bind || x->vis != y->vis))
		q->changed = true;
}

void od_compare_exports(struct od *d)
{
	for (size_t i = 0; i < d->count; i++) {
		const struct od_sym **x, **y;
		size_t n, m;

		x = sorted_exports(&d->pool, &d->before[i], &n);
		y = sorted_exports(&d->pool, &d->after[i], &m);
		for (size_t k = 0; k < n; k++) {
			const struct od_sym *const *same = bsearch(&x[k], y, m, sizeof(*y), by_name);

			if (same)
				compare_export(d, &d->before[i], x[k], &d->after[i], *same);
		}
	}
}

/*
 * Where there is no link to ask: an export that is new or gone is a change, for other objects may use it. True if there
 * is one.
 */
bool od_exports_come_and_go(struct od *d)
{
	bool differ = false;

	for (size_t i = 0; i < d->count; i++) {
		const struct od_sym **x, **y;
		size_t n, m;

		x = sorted_exports(&d->pool, &d->before[i], &n);
		y = sorted_exports(&d->pool, &d->after[i], &m);
		for (size_t k = 0; k < n; k++) {
			if (bsearch(&x[k], y, m, sizeof(*y), by_name))
				continue;
			od_note(d, "%s is not exported any more", x[k]->name);
			differ = true;
		}
		for (size_t k = 0; k < m; k++) {
			struct od_sec *s = sec_of(&d->after[i], y[k]);

			if (bsearch(&y[k], x, n, sizeof(*x), by_name))
				continue;
			od_note(d, "%s is exported anew", y[k]->name);
			if (s && !s->peer && (s->kind == OD_CODE || s->kind == OD_RODATA || s->kind == OD_DATA))
				od_include(d, s, "new, and exported: another object may use it");
			differ = true;
		}
	}
	return differ;
}
