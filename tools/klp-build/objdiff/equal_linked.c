/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a function or datum of the linked original is in the running file (invariant B2). Where the addresses differ,
 * bytes are equal but for what the link fills in, and that leads to the same things. Where links shorten code, each of
 * the two linked functions is explained by the object's section instead, byte by byte.
 */
#include <string.h>
#include "tools/klp-build/objdiff/equal_linked.h"

static bool equal_reference(const struct rs_pair *p, const struct od_rel *rel);

uint8_t rs_link_mask(const struct od_sec *s, uint64_t off)
{
	uint8_t mask = 0;

	for (size_t i = 0; i < s->rel_count; i++)
		mask |= s->obj->arch->modules->link_mask(&s->rel[i], off);
	return mask;
}

bool rs_relaxes(const struct od_sec *s)
{
	return s->obj->arch->modules->relaxed != NULL;
}

/* A place inside of a function that no symbol of a linked file names. */
bool rs_is_label(const struct od_target *t)
{
	return t->sec && t->sec->kind == OD_CODE && t->sec->sym && rs_relaxes(t->sec) && t->sym->bind == STB_LOCAL &&
	       t->sym->type == STT_NOTYPE;
}

bool rs_label_at(const struct rs_pair *p, const struct lk *l, const struct od_target *t, uint64_t *addr)
{
	const struct od_placed *in = t->sec == p->s ? (l == p->a->l ? p->a : p->b) : rs_placed(p->r, l, t->sec);

	return in && od_placed_at(in, t->sym->value, addr);
}

/* The distance that the relocations from `first` on make together is that of the places in the linked file. */
static bool right_distance(const struct rs_pair *p, const struct od_placed *in, const struct od_rel *first)
{
	const struct od_sec *s = p->s;
	uint64_t want = 0, have = 0, at, mask = 0, label, width = 0;
	const uint8_t *b;

	if (!s->data)
		return false;
	for (const struct od_rel *rel = first; rel < s->rel + s->rel_count && rel->off == first->off; rel++) {
		struct od_rel_info i = od_rel_info(s, rel);
		struct od_target t = od_resolve(&p->r->d->global_before, s, rel);
		uint64_t bits = i.bits < 64 ? ((uint64_t)1 << i.bits) - 1 : UINT64_MAX;

		if (i.class == OD_REL_NONE)
			continue;
		if (!i.term || (mask && mask != bits))
			return false;
		width = i.width;
		if (!mask)
			memcpy(&want, s->data + first->off, width);
		mask = bits;
		if (rs_is_label(&t)) {
			if (!rs_label_at(p, in->l, &t, &label))
				return false;
		} else if (t.sec == s) { /* a table's own label */
			if (!od_placed_at(in, t.sym->value, &label))
				return false;
		} else {
			return false;
		}
		label += (uint64_t)rel->addend;
		label = i.term == OD_TERM_SET ? label : i.term == OD_TERM_ADD ? want + label : want - label;
		want = (want & ~mask) | (label & mask);
	}
	b = od_placed_at(in, first->off, &at) ? lk_bytes(in->l, at, width) : NULL;
	if (!b)
		return false;
	memcpy(&have, b, width);
	return have == (want & (width < 8 ? ((uint64_t)1 << 8 * width) - 1 : UINT64_MAX));
}

bool rs_equal_distances(const struct rs_pair *p, const struct od_rel *rel)
{
	if (rel > p->s->rel && rel[-1].off == rel->off && od_rel_info(p->s, rel - 1).term)
		return true; /* was, with the first of them */
	return right_distance(p, p->a, rel) && right_distance(p, p->b, rel);
}

static bool same_variable(const struct rs *r, uint64_t a, uint64_t b)
{
	const struct lk_sym *m = lk_tls_at(&r->original, a, NULL), *n;

	if (!m || !r->names)
		return false;
	n = lk_tls_at(r->names, b, m->name);
	return n && !strcmp(m->name, n->name);
}

/* Slots of a thread-local variable: of its offset, or of its object's number and, behind that, the place in its block.
 */
static bool same_tls_slot(const struct rs *r, uint64_t a, uint64_t b)
{
	const struct lk_dynrel *x = lk_rel_at(&r->original, a), *y = lk_rel_at(&r->running, b);
	const uint8_t *p = lk_bytes(&r->original, a, 16), *q = lk_bytes(&r->running, b, 16);
	uint64_t v, w;

	if (!x != !y || !p || !q)
		return false;
	if (x && (x->type != y->type || !x->sym != !y->sym))
		return false;
	if (x && x->sym)
		return x->addend == y->addend && !strcmp(x->sym->name, y->sym->name);
	if (x && r->d->arch->modules->slot(x->type) != OD_SLOT_DTPMOD)
		return same_variable(r, (uint64_t)x->addend, (uint64_t)y->addend);
	memcpy(&v, x ? p + 8 : p, 8);
	memcpy(&w, x ? q + 8 : q, 8);
	return same_variable(r, v, w);
}

static bool equal_tls(const struct rs_pair *p, const struct od_rel *rel)
{
	struct od_operand x, y;

	if (!p->r->d->arch->modules->reads_tls || !od_rel_info(p->s, rel).half)
		return true; /* offsets of named variables are checked where they are used */
	x = rs_read_operand(p->r, p->a, rel);
	y = rs_read_operand(p->r, p->b, rel);
	if (!x.valid || !y.valid || x.slot != y.slot)
		return false;
	return x.slot ? same_tls_slot(p->r, x.value, y.value) : same_variable(p->r, x.value, y.value);
}

/* What an unnamed table leads to. Only where links shorten code: elsewhere its bytes say it. */
static bool equal_table_references(const struct rs_pair *p, struct od_sec *table, uint64_t a, uint64_t b)
{
	struct od_placed at = {.s = table, .l = p->a->l, .size = table->size, .addr = a}, in_running = at;
	struct rs_pair t = {.r = p->r, .s = table, .a = &at, .b = &in_running, .deep = p->deep + 1};

	in_running.l = p->b->l;
	in_running.addr = b;
	if (!rs_relaxes(table))
		return true;
	if (t.deep > RS_TABLES_DEEP)
		return false;
	for (size_t i = 0; i < table->rel_count; i++)
		if (!equal_reference(&t, &table->rel[i]))
			return false;
	return true;
}

static bool equal_table(const struct rs_pair *p, const struct od_target *t, uint64_t a, uint64_t b)
{
	struct od_sec *table = t->sec;

	if (t->sym->type != STT_SECTION && !rs_relaxes(table))
		return true;
	a -= t->sym->value;
	b -= t->sym->value;
	for (uint64_t i = 0; i < table->size; i++) {
		const uint8_t *x = lk_bytes(p->a->l, a + i, 1), *y = lk_bytes(p->b->l, b + i, 1);

		if (!x || !y || ((*x ^ *y) & ~rs_link_mask(table, i)))
			return false;
	}
	return equal_table_references(p, table, a, b);
}

static bool equal_text(const struct rs_pair *p, const struct od_sec *pool, uint64_t a, uint64_t b)
{
	uint64_t w = pool->kind == OD_CONSTS ? pool->entsize : 0;
	const uint8_t *x, *y;

	if (w)
		return (x = lk_bytes(p->a->l, a, w)) && (y = lk_bytes(p->b->l, b, w)) && !memcmp(x, y, w);
	for (;; a++, b++) {
		x = lk_bytes(p->a->l, a, 1);
		y = lk_bytes(p->b->l, b, 1);
		if (!x || !y || *x != *y)
			return false;
		if (!*x)
			return true;
	}
}

/* Operands name the same things although the addresses differ. */
static bool equal_reference(const struct rs_pair *p, const struct od_rel *rel)
{
	struct rs *r = p->r;
	const struct od_sec *s = p->s, *in = s;
	const struct od_rel *meant = od_rel_meant(&in, rel);
	struct od_target t;
	struct rs_place x, y;
	const struct lk_sym *m, *n;
	uint64_t bias = 0, want;

	if (!meant)
		return false;
	if (od_rel_info(in, meant).class == OD_REL_NONE)
		return true;
	if (od_rel_info(in, meant).class == OD_REL_TLS)
		return equal_tls(p, rel);
	if (od_rel_info(s, rel).term)
		return rs_equal_distances(p, rel);
	x = rs_read_place(r, p->a, rel);
	y = rs_read_place(r, p->b, rel);
	if (!x.valid || !y.valid || x.dynamic != y.dynamic)
		return false;
	if (x.dynamic)
		return !strcmp(x.sym->name, y.sym->name);
	t = od_resolve(&r->d->global_before, s, rel);
	if (rs_is_label(&t))
		return rs_label_at(p, p->a->l, &t, &want) && want == x.addr && rs_label_at(p, p->b->l, &t, &want) &&
		       want == y.addr;
	if (t.sec && (t.sec->kind == OD_STRINGS || t.sec->kind == OD_CONSTS)) {
		bias = (uint64_t)(meant->addend + od_rel_bias(s, rel));
		return equal_text(p, t.sec, x.addr + bias, y.addr + bias);
	}
	if (t.sec && t.sec->kind == OD_ANON)
		return equal_table(p, &t, x.addr, y.addr);
	if (t.sec && t.sym->type == STT_SECTION && t.sec->sym)
		bias = t.sec->obj->sym[t.sec->sym].value;
	m = lk_at(&r->original, x.addr + bias, NULL);
	if (!m || !r->names)
		return false;
	n = lk_at(r->names, y.addr + bias, m->name);
	return n && !strcmp(m->name, n->name);
}

static bool refuse_byte(struct rs *r, const struct od_sec *s, const struct lk_sym *y, uint64_t off)
{
	od_refuse(r->d, y->name, s->name, s->obj->unit, "rebuild exactly what runs: same source, compiler and flags",
		  "the running file differs from the rebuilt original in %s at offset %llu", y->name,
		  (unsigned long long)off);
	return false;
}

/* Both linked functions have been made of the section. */
static bool explained(const struct rs_pair *p, const struct lk_sym *y)
{
	if (p->a->why) {
		od_refuse(p->r->d, y->name, p->s->name, p->s->obj->unit, "report it to klp's authors",
			  "what the link made of it cannot be read back from the original program: %s, at offset %llu",
			  p->a->why, (unsigned long long)p->a->why_at);
		return false;
	}
	if (p->b->why) {
		od_refuse(p->r->d, y->name, p->s->name, p->s->obj->unit,
			  "rebuild exactly what runs: same source, compiler and flags",
			  "the running file differs from the rebuilt original in %s at offset %llu: %s", y->name,
			  (unsigned long long)p->b->why_at, p->b->why);
		return false;
	}
	return true;
}

static bool check_equal(struct rs *r, struct od_sec *s, const struct lk_sym *y, uint64_t at)
{
	const struct od_sym *own = s->sym ? &s->obj->sym[s->sym] : NULL;
	const uint8_t *a = lk_bytes(&r->original, y->value, y->size), *b = lk_bytes(&r->running, at, y->size);
	struct rs_pair p = {.r = r, .s = s};

	if (s->kind != OD_CODE && s->kind != OD_RODATA)
		return true; /* a variable has the value that it has; its size was compared with the symbol's */
	if (!a || !b || !own) {
		od_refuse(r->d, y->name, s->name, s->obj->unit, "rebuild exactly what runs",
			  "not in the running file as in the rebuild");
		return false;
	}
	p.a = rs_place(r, &r->original, s, y->value, y->size);
	p.b = rs_place(r, &r->running, s, at, y->size);
	if (s->kind == OD_CODE && rs_relaxes(s) && !r->same_layout) {
		if (!explained(&p, y))
			return false;
	} else {
		for (uint64_t i = 0; i < y->size; i++)
			if (a[i] != b[i] && (r->same_layout || ((a[i] ^ b[i]) & ~rs_link_mask(s, own->value + i))))
				return refuse_byte(r, s, y, i);
	}
	for (size_t i = 0; !r->same_layout && i < s->rel_count; i++) {
		uint64_t off = s->rel[i].off - own->value;

		if (s->rel[i].off < own->value || off >= (rs_relaxes(s) ? own->size : y->size) ||
		    equal_reference(&p, &s->rel[i]))
			continue;
		od_refuse(r->d, y->name, s->name, s->obj->unit,
			  "rebuild exactly what runs: same source, compiler and flags",
			  "an operand of %s at offset %llu means something else in the running file", y->name,
			  (unsigned long long)off);
		return false;
	}
	return true;
}

bool rs_check_equal(struct rs *r, struct od_sec *s, const struct lk_sym *y, uint64_t at)
{
	size_t before = json_array_size(r->d->refused);
	bool equal;

	if (r->partial)
		return rs_check_object(r, s, y, at);
	equal = check_equal(r, s, y, at);

	if (!equal && s->kind == OD_CODE && json_array_size(r->d->refused) > before)
		rs_note_code(r->d, y, at, y->size);
	return equal;
}
