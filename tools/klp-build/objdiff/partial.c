/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "tools/klp-build/objdiff/partial.h"

#define RP_MAX_PREFIX 256u /* bytes before an entry where its site may begin: more than any flags make */

static const char with_link[] = "make the module with a build command that links (-b, -t)";

bool rp_knows_unit(struct rs *r, struct od_obj *o)
{
	size_t group = lk_find_group(&r->original, o);

	return group && group != SIZE_MAX;
}

static void find_outside(struct rs *r, const struct od_map *m, struct od_obj *side)
{
	for (size_t i = 0; i < r->d->count; i++)
		for (size_t k = 1; k < side[i].sym_count; k++) {
			struct od_sym *y = &side[i].sym[k];
			const struct lk_sym *dyn;
			const char *why;

			y->outside = r->names && !y->shndx && y->bind != STB_LOCAL && !od_find(m, y->name) &&
				     rs_binding(r, y, &dyn, &why) == RS_DYNAMIC && !dyn->shndx;
		}
}

void rp_find_outside(struct rs *r)
{
	find_outside(r, &r->d->global_before, r->d->before);
	find_outside(r, &r->d->global_after, r->d->after);
}

static const struct od_sym *exported(const struct od_obj *o, const char *name)
{
	for (size_t i = 1; i < o->sym_count; i++)
		if (o->sym[i].bind != STB_LOCAL && o->sym[i].shndx && !strcmp(o->sym[i].name, name))
			return &o->sym[i];
	return NULL;
}

static bool in_any(const struct od *d, const struct od_obj *side, const char *name)
{
	for (size_t i = 0; i < d->count; i++)
		if (exported(&side[i], name))
			return true;
	return false;
}

/* An executable that has a global function of its own which is not in its dynamic table exports only what it must. */
static bool keeps_globals(const struct rs *r)
{
	if (!rs_is_executable(r))
		return false;
	for (size_t i = 1; i < r->original.sym_count; i++) {
		const struct lk_sym *y = &r->original.sym[i];

		if (y->type == STT_FUNC && y->bind == STB_GLOBAL && y->shndx && strcmp(y->name, "_start") &&
		    !lk_dynamic(&r->running, y->name))
			return true;
	}
	return false;
}

static void check_new(struct rs *r, const struct od_obj *o, const struct od_sym *y)
{
	const struct lk_sym *dyn = lk_dynamic(&r->running, y->name);

	if (lk_global(&r->original, y->name) || dyn)
		od_refuse(r->d, y->name, "", o->unit, "give the new definition another name",
			  "the program used another definition of it so far");
	else if (y->vis != STV_HIDDEN && y->vis != STV_INTERNAL && !keeps_globals(r))
		od_refuse(r->d, y->name, "", o->unit, "make it static or hidden, or use a build command that links",
			  "a new global symbol: without a link it cannot be told whether the program would export it");
}

void rp_check_exports(struct rs *r)
{
	struct od *d = r->d;

	if (!r->names)
		return;
	for (size_t i = 0; i < d->count; i++) {
		const struct od_obj *a = &d->after[i], *b = &d->before[i];

		for (size_t k = 1; k < a->sym_count; k++)
			if (a->sym[k].bind != STB_LOCAL && a->sym[k].shndx && *a->sym[k].name &&
			    !in_any(d, d->before, a->sym[k].name))
				check_new(r, a, &a->sym[k]);
		for (size_t k = 1; k < b->sym_count; k++) {
			const struct od_sym *y = &b->sym[k];
			const struct lk_sym *dyn = lk_dynamic(&r->running, y->name);

			if (y->bind == STB_LOCAL || !y->shndx || !*y->name || in_any(d, d->after, y->name))
				continue;
			if (dyn && dyn->shndx)
				od_refuse(d, y->name, "", b->unit, "keep the export",
					  "the patched program no longer exports it");
			else if (lk_global(&r->original, y->name))
				od_note(d, "%s is not defined any more; other units that use it would not link",
					y->name);
		}
	}
}

void rp_check_constants(struct rs *r)
{
	for (size_t i = 0; i < r->d->count; i++)
		for (size_t k = 0; k < r->d->after[i].sec_count; k++) {
			struct od_sec *s = &r->d->after[i].sec[k];
			const struct od_obj *o = s->obj;

			if (!s->included || s->kind != OD_RODATA || !s->peer || !s->changed)
				continue;
			for (size_t n = 1; n < o->sym_count && !s->refused; n++)
				if (o->sym[n].shndx == s->index && o->sym[n].bind != STB_LOCAL &&
				    !od_accept(r->d, s, "other units keep the old constant"))
					od_refuse_sec(r->d, s, with_link,
						      "changed constant data is global as %s: units that the diffs do "
						      "not touch may use it, and were not compiled",
						      o->sym[n].name);
		}
}

const struct klp_site_list_entry *rp_site(const struct rs *r, const struct lk_sym *y, struct klp_site_list_entry *out)
{
	uint64_t last = y->value + (y->size > 8 ? 8 : 0);
	struct klp_error e = KLP_ERROR_INIT;
	const struct lk_sec *c = lk_sec_at(&r->running, y->value);

	*out = (struct klp_site_list_entry){.entry = y->value, .reason = KLP_NO_SITE};
	if (!c || c->type != SHT_PROGBITS || !(c->flags & SHF_EXECINSTR))
		return out;
	for (uint64_t back = 0; back <= RP_MAX_PREFIX + 8 && last - back >= c->addr; back++) {
		uint64_t recorded = last - back, from = recorded < y->value ? recorded : y->value;
		uint64_t len = c->addr + c->size - from;
		const uint8_t *code;

		if (!lk_recorded(&r->running, recorded))
			continue;
		if (len > y->value - from + 64)
			len = y->value - from + 64;
		code = lk_bytes(&r->running, from, len);
		out->recorded = recorded;
		out->reason =
		    code && !klp_site_decode(r->d->arch->machine, y->value, recorded, code, from, len, &out->site, &e)
			? KLP_OK
		    : code ? e.reason
			   : KLP_NO_SITE;
		if (out->reason == KLP_OK)
			return out;
	}
	return out;
}
