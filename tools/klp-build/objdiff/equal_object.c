/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a function or datum of an object is in the running file (invariant B2) when nothing was linked: a
 * compilation database says how units are compiled, not how the program is linked. Bytes that no relocation covers are
 * equal; what the link filled in leads to what the relocation names; an instruction that it wrote anew is one of those
 * that the psABI lets it write for that one. What cannot be confirmed is refused.
 */
#include <string.h>
#include "tools/klp-build/objdiff/equal_linked.h"

static const char *reason_of(const struct rs_pair *p, const struct od_rel *rel);

bool rs_is_executable(const struct rs *r)
{
	for (size_t i = 0; i < r->running.ph_count; i++)
		if (r->running.ph[i].p_type == PT_INTERP)
			return true;
	return r->running.type == ET_EXEC;
}

/* ld --wrap sends references to the name elsewhere, but the symbols do not say whether it was told to. */
static bool may_be_wrapped(struct rs *r, const char *name)
{
	const char *wrap = od_printf(&r->d->pool, "__wrap_%s", name);

	return lk_global(r->names, wrap) || lk_dynamic(&r->running, wrap);
}

static unsigned versions_of(const struct lk *l, const char *name)
{
	unsigned n = 0;

	for (size_t i = 1; i < l->dyn_count; i++)
		n += !strcmp(l->dyn[i].name, name);
	return n;
}

/* Some slot of the running file is for the dynamic linker to fill in with this symbol. */
static bool has_slot(const struct rs *r, const char *name)
{
	for (size_t i = 0; i < r->running.rel_count; i++) {
		const struct lk_dynrel *d = &r->running.rel[i];
		enum od_slot kind = r->d->arch->modules->slot(d->type);

		if (d->sym && !strcmp(d->sym->name, name) && (kind == OD_SLOT_JUMP || kind == OD_SLOT_ADDRESS))
			return true;
	}
	return false;
}

enum rs_binding rs_binding(struct rs *r, const struct od_sym *y, const struct lk_sym **sym, const char **why)
{
	const struct lk_sym *own, *dyn = lk_dynamic(&r->running, y->name);

	*sym = NULL;
	*why = NULL;
	if (strchr(y->name, '@')) {
		*why = "a symbol with a version of its own: only a link says what that means";
		return RS_UNCONFIRMED;
	}
	if (!y->shndx && may_be_wrapped(r, y->name)) {
		*why = "the running file has a __wrap_ function for it: only a link says which of the two is meant";
		return RS_UNCONFIRMED;
	}
	own = lk_global(r->names, y->name);
	if (own && (rs_is_executable(r) || !dyn || !dyn->shndx)) {
		*sym = own;
		return RS_OWN;
	}
	if (own && has_slot(r, y->name)) {
		*sym = dyn;
		return RS_DYNAMIC;
	}
	if (own) {
		*why = "the library exports it, and nothing in the running file says whether the link binds it within "
		       "the library";
		return RS_UNCONFIRMED;
	}
	if (dyn && !dyn->shndx && versions_of(&r->running, y->name) == 1) {
		*sym = dyn;
		return RS_DYNAMIC;
	}
	*why = dyn ? "the running file uses several versions of it"
		   : "the running file does not refer to it: only a link says what it would become";
	return RS_UNCONFIRMED;
}

/* Where the running file has what the relocation's symbol names. */
static const char *wanted(const struct rs_pair *p, const struct od_target *t, uint64_t *addr)
{
	struct rs *r = p->r;
	const struct od_sym *named = t->sym;
	const struct lk_sym *y;
	const char *why;

	if (t->sec == p->s)
		return od_placed_at(p->b, t->sym->value, addr) ? NULL : "its place cannot be told";
	if (t->sec) {
		if (!t->sec->sym)
			return "it leads to a section without a symbol";
		if (named->type == STT_SECTION || named->bind == STB_LOCAL)
			named = &t->sec->obj->sym[t->sec->sym];
		y = lk_sym_of(&r->original, t->sec->obj, named, 0);
		if (!y)
			return "the running file has no symbol for what it leads to, or several";
		*addr = y->value + (t->sym->value - named->value);
		return NULL;
	}
	if (t->sym->shndx && (t->sym->shndx & 0xffff) == SHN_ABS)
		return "it is an absolute symbol";
	if (t->sym->bind == STB_WEAK && !lk_global(r->names, t->sym->name)) {
		*addr = 0;
		return NULL;
	}
	if (rs_binding(r, t->sym, &y, &why) != RS_OWN)
		return why ? why : "the running file leaves it to the dynamic linker elsewhere";
	*addr = y->value;
	return NULL;
}

/* A string or constant: where the code looks, the running file has the same from its start on. */
static const char *same_content(const struct rs_pair *p, const struct od_rel *rel, const struct od_rel *meant,
				const struct od_target *t, uint64_t sym_addr)
{
	const struct od_sec *pool = t->sec;
	uint64_t bias = (uint64_t)od_rel_bias(p->s, rel), place = (uint64_t)t->off + bias;
	uint64_t from = t->sym->type == STT_SECTION ? place : t->sym->value;
	uint64_t addr = sym_addr + (uint64_t)meant->addend + bias - (place - from), w = pool->entsize;

	if (!pool->data || !w || w > 64)
		return "it leads to content that cannot be read";
	if (pool->kind == OD_CONSTS)
		from -= from % w;
	for (;; from += w, addr += w) {
		const uint8_t *b = lk_bytes(p->b->l, addr, w);
		bool end = pool->kind == OD_CONSTS;

		if (from > pool->size || pool->size - from < w || !b || memcmp(pool->data + from, b, w))
			return "it leads to other text or another constant";
		if (!end) {
			end = true;
			for (uint64_t i = 0; i < w; i++)
				end = end && !pool->data[from + i];
		}
		if (end)
			return NULL;
	}
}

static const char *same_bytes(const struct rs_pair *p, uint64_t *off)
{
	const struct od_sec *s = p->s;
	const uint8_t *b = lk_bytes(p->b->l, p->b->addr, p->b->size);

	*off = 0;
	if (!b || !s->data || p->b->from > s->size || s->size - p->b->from < p->b->size)
		return "it is not all there";
	for (; *off < p->b->size; ++*off) {
		uint64_t at = p->b->from + *off;

		if ((b[*off] ^ s->data[at]) && ((b[*off] ^ s->data[at]) & ~rs_link_mask(s, at)))
			return "other bytes";
	}
	return NULL;
}

/* An unnamed table that belongs to the code. */
static const char *same_table(const struct rs_pair *p, const struct od_target *t, uint64_t sym_addr)
{
	struct od_sec *table = t->sec;
	struct od_placed at = {.s = table, .l = p->b->l, .size = table->size, .addr = sym_addr - t->sym->value};
	struct rs_pair in = {.r = p->r, .s = table, .a = &at, .b = &at, .deep = p->deep + 1};
	uint64_t off;

	if (in.deep > RS_TABLES_DEEP)
		return "it leads to tables of tables";
	if (table->type == SHT_NOBITS || same_bytes(&in, &off))
		return "it leads to another table";
	for (size_t i = 0; i < table->rel_count; i++)
		if (reason_of(&in, &table->rel[i]))
			return "it leads to a table that leads elsewhere";
	return NULL;
}

static const char *same_variable(const struct rs_pair *p, const struct od_rel *rel, const struct od_target *t)
{
	const struct od_arch_modules *m = p->r->d->arch->modules;
	const struct od_sym *named = t->sym;
	const struct lk_sym *y;
	struct od_operand o;
	uint64_t at, want;

	if (t->sec && t->sec->sym && named->bind == STB_LOCAL)
		named = &t->sec->obj->sym[t->sec->sym];
	y = t->sec ? lk_sym_of(&p->r->original, t->sec->obj, named, 0) : lk_global(p->r->names, named->name);
	if (!y || y->type != STT_TLS || !y->shndx || !od_placed_at(p->b, rel->off, &at))
		return "it is of a thread-local variable that the running file has no symbol for";
	want = y->value + (t->sym->value - named->value);
	if (!t->sec)
		want = y->value;
	if (m->tls_offset)
		return m->tls_offset(p->b->l, at, p->s, rel, want)
			   ? NULL
			   : "it is of a thread-local variable, in a form that cannot be read back";
	/* A hint to linkers that shorten code; what they made of it has been explained. */
	if (m->reads_tls && p->s->kind == OD_CODE && !od_rel_info(p->s, rel).half)
		return NULL;
	if (!m->reads_tls)
		return "it is of a thread-local variable, in a form that cannot be read back";
	o = rs_read_operand(p->r, p->b, rel);
	return o.valid && !o.slot && o.value == want ? NULL
						     : "it is of another thread-local variable, or cannot be "
						       "read back";
}

/* NULL: what the link made of the relocation is what it says. */
static const char *reason_of(const struct rs_pair *p, const struct od_rel *rel)
{
	const struct od_sec *in = p->s;
	const struct od_rel *meant = od_rel_meant(&in, rel);
	const struct od_arch_modules *m = p->r->d->arch->modules;
	struct od_rel_info info;
	struct od_target t;
	struct rs_place y;
	uint64_t want, at;
	const char *why;

	if (!meant)
		return "it names no other half";
	info = od_rel_info(in, meant);
	if (info.class == OD_REL_NONE)
		return NULL;
	if (info.class == OD_REL_UNKNOWN)
		return "its kind is not known";
	t = od_resolve(&p->r->d->global_before, p->s, rel);
	if (info.class == OD_REL_TLS)
		return same_variable(p, rel, &t);
	if (od_rel_info(p->s, rel).term)
		return rs_equal_distances(p, rel) ? NULL : "it is another distance";
	if (m->as_linked && (!od_placed_at(p->b, rel->off, &at) || !m->as_linked(p->b->l, at, p->s, rel)))
		return "the instruction is another one";
	y = rs_read_place(p->r, p->b, rel);
	if (!y.valid)
		return "it cannot be read back";
	if (y.dynamic)
		return t.sym->bind != STB_LOCAL && !strcmp(y.sym->name, t.sym->name) ? NULL : "it is another symbol";
	if (rs_is_label(&t))
		return rs_label_at(p, p->b->l, &t, &want) && want == y.addr ? NULL : "it leads elsewhere";
	if (t.sec && (t.sec->kind == OD_STRINGS || t.sec->kind == OD_CONSTS))
		return same_content(p, rel, meant, &t, y.addr);
	if (t.sec && t.sec->kind == OD_ANON && t.sec != p->s)
		return same_table(p, &t, y.addr);
	why = wanted(p, &t, &want);
	return why ? why : want == y.addr ? NULL : "it leads elsewhere";
}

static const char advice[] = "rebuild exactly what runs: same source, compiler and flags";

bool rs_check_object(struct rs *r, struct od_sec *s, const struct lk_sym *y, uint64_t addr)
{
	const struct od_sym *own = s->sym ? &s->obj->sym[s->sym] : NULL;
	bool relaxed = s->kind == OD_CODE && rs_relaxes(s);
	struct rs_pair p = {.r = r, .s = s};
	const char *why = NULL;
	uint64_t off = 0;

	if (s->kind != OD_CODE && s->kind != OD_RODATA && s->kind != OD_DATA && s->kind != OD_TLS)
		return true;
	if (!own || (!relaxed && own->size != y->size)) {
		od_refuse(r->d, y->name, s->name, s->obj->unit, advice,
			  "%s has %llu bytes in the running file and %llu in the unit's rebuilt object", y->name,
			  (unsigned long long)y->size, (unsigned long long)(own ? own->size : s->size));
		return false;
	}
	if (s->kind == OD_TLS || s->type == SHT_NOBITS)
		return true;
	p.a = p.b = rs_place(r, &r->running, s, addr, y->size);
	if (relaxed) {
		why = p.b->why;
		off = p.b->why_at;
	} else {
		why = same_bytes(&p, &off);
	}
	if (why) {
		od_refuse(r->d, y->name, s->name, s->obj->unit, advice,
			  "the running file differs from the unit's rebuilt object in %s at offset %llu: %s", y->name,
			  (unsigned long long)off, why);
		return false;
	}
	for (size_t i = 0; i < s->rel_count; i++) {
		if (s->rel[i].off < own->value || s->rel[i].off - own->value >= own->size)
			continue;
		why = reason_of(&p, &s->rel[i]);
		if (!why)
			continue;
		od_refuse(r->d, y->name, s->name, s->obj->unit, advice,
			  "an operand of %s at offset %llu is not confirmed by the running file: %s (%s)", y->name,
			  (unsigned long long)(s->rel[i].off - own->value), why,
			  od_resolve(&r->d->global_before, s, &s->rel[i]).sym->name);
		return false;
	}
	return true;
}
