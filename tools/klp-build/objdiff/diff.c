/* SPDX-License-Identifier: Apache-2.0 */
/* Loading both trees, their global names, and the report. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/klp-build/objdiff/diff.h"

static uint64_t hash(const char *s)
{
	uint64_t h = 1469598103934665603ull;

	while (*s)
		h = (h ^ (uint8_t)*s++) * 1099511628211ull;
	return h;
}

static struct od_map_slot *slot_of(const struct od_map *m, const char *name)
{
	size_t i = hash(name) & (m->size - 1);

	while (m->slot[i].name && strcmp(m->slot[i].name, name))
		i = (i + 1) & (m->size - 1);
	return &m->slot[i];
}

const struct od_def *od_find(const struct od_map *m, const char *name)
{
	const struct od_map_slot *s = slot_of(m, name);

	return s->name ? &s->def : NULL;
}

/* As the linker does: a strong definition wins over a weak one, the first weak one over later ones. */
static void fill_map(struct od *d, struct od_map *m, struct od_obj *objs)
{
	size_t n = 0;

	for (size_t i = 0; i < d->count; i++)
		n += objs[i].sym_count;
	for (m->size = 64; m->size < 2 * n; m->size *= 2)
		;
	m->slot = od_alloc(&d->pool, m->size, sizeof(*m->slot));
	for (size_t i = 0; i < d->count; i++) {
		struct od_obj *o = &objs[i];

		for (size_t k = 1; k < o->sym_count; k++) {
			struct od_sym *y = &o->sym[k];
			struct od_map_slot *s;

			if (y->bind == STB_LOCAL || !y->shndx || y->shndx >= o->sec_count || !*y->name)
				continue;
			s = slot_of(m, y->name);
			if (s->name && !(s->def.sym->bind == STB_WEAK && y->bind != STB_WEAK))
				continue;
			s->name = y->name;
			s->def.sec = &o->sec[y->shndx];
			s->def.sym = y;
		}
	}
}

static json_t *new_array(json_t *o, const char *key)
{
	json_t *a = json_array();

	json_object_set_new(o, key, a);
	return a;
}

/* What the program defines itself may take other arguments than the function of that name in a library. */
static void find_outside(const struct od *d, const struct od_map *m, struct od_obj *side)
{
	for (size_t i = 0; i < d->count; i++)
		for (size_t k = 1; k < side[i].sym_count; k++) {
			struct od_sym *y = &side[i].sym[k];

			y->outside = !y->shndx && y->bind != STB_LOCAL && !od_find(m, y->name);
		}
}

/* All objects are of one machine. */
static int check_machine(struct od *d, const struct od_obj *o, struct klp_error *e)
{
	if (!d->arch)
		d->arch = o->arch;
	if (d->arch != o->arch)
		return klp_fail(e, EINVAL, KLP_WRONG_ARCH, "%s is for %s, other objects are for %s", o->path,
				o->arch->name, d->arch->name);
	return 0;
}

int od_start(struct od *d, const struct klp_unit *units, size_t count, bool some, struct klp_error *e)
{
	int rc;

	memset(d, 0, sizeof(*d));
	d->count = count;
	d->before = od_alloc(&d->pool, count + 1, sizeof(*d->before));
	d->after = od_alloc(&d->pool, count + 1, sizeof(*d->after));
	d->report = json_object();
	d->refused = new_array(d->report, "refused");
	d->notes = new_array(d->report, "notes");
	d->accepted = new_array(d->report, "accepted");
	d->again = new_array(d->report, "again");
	for (size_t i = 0; i < count; i++) {
		d->before[i].unit = d->after[i].unit = units[i].name;
		if (units[i].original_o) {
			rc = od_load_object(&d->pool, units[i].original_o, units[i].name, &d->before[i], e);
			if (!rc)
				rc = check_machine(d, &d->before[i], e);
			if (rc)
				return rc;
		}
		if (units[i].patched_o) {
			rc = od_load_object(&d->pool, units[i].patched_o, units[i].name, &d->after[i], e);
			if (!rc)
				rc = check_machine(d, &d->after[i], e);
			if (rc)
				return rc;
		}
		d->before[i].assembly = d->after[i].assembly = units[i].assembly;
	}
	fill_map(d, &d->global_before, d->before);
	fill_map(d, &d->global_after, d->after);
	if (some) /* another unit may define it */
		return 0;
	find_outside(d, &d->global_before, d->before);
	find_outside(d, &d->global_after, d->after);
	return 0;
}

void od_end(struct od *d)
{
	od_pool_free(&d->pool);
	json_decref(d->report);
	d->report = NULL;
}

static void refuse(struct od *d, const char *symbol, const char *section, const char *file, const char *advice,
		   const char *text)
{
	size_t i;
	json_t *r,
	    *o = json_pack("{s:s,s:s,s:s,s:s,s:s}", "symbol", symbol ? symbol : "", "section", section ? section : "",
			   "file", file ? file : "", "reason", text, "advice", advice ? advice : "");

	json_array_foreach(d->refused, i, r)
	{
		if (json_equal(r, o)) {
			json_decref(o);
			return;
		}
	}
	json_array_append_new(d->refused, o);
}

void od_refuse(struct od *d, const char *symbol, const char *section, const char *file, const char *advice,
	       const char *reason, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, reason);
	vsnprintf(text, sizeof(text), reason, ap);
	va_end(ap);
	refuse(d, symbol, section, file, advice, text);
}

void od_refuse_sec(struct od *d, struct od_sec *s, const char *advice, const char *reason, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, reason);
	vsnprintf(text, sizeof(text), reason, ap);
	va_end(ap);
	s->refused = true;
	refuse(d, od_sec_label(s), s->name, s->obj->unit, advice, text);
}

const char *od_accept(struct od *d, struct od_sec *s, const char *what)
{
	const char *label = od_sec_label(s), *base = od_base_name(&d->pool, label);
	size_t i;
	json_t *e;

	/* Code that was compiled for the new size would read or write behind the old object. */
	if (!s->peer || s->size != s->peer->size || s->align > s->peer->align)
		return NULL;
	json_array_foreach(d->statements, i, e)
	{
		const char *kind = json_string_value(json_object_get(e, "kind")),
			   *name = json_string_value(json_object_get(e, "name")),
			   *file = json_string_value(json_object_get(e, "file")),
			   *why = json_string_value(json_object_get(e, "why"));

		if (!kind || !name || !file || !why || strcmp(kind, "data") || !s->sym ||
		    (strcmp(name, label) && strcmp(name, base)) ||
		    (s->obj->sym[s->sym].bind == STB_LOCAL && strcmp(file, s->obj->unit)))
			continue;
		if (!s->accepted)
			json_array_append_new(d->accepted,
					      json_pack("{s:s,s:s,s:o}", "symbol", name, "file", s->obj->unit, "reason",
							json_sprintf("%s; accepted by its author: %s", what, why)));
		s->accepted = true;
		return why;
	}
	return NULL;
}

void od_note(struct od *d, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(d->notes, json_string(text));
}

struct od_target od_resolve(const struct od_map *globals, const struct od_sec *s, const struct od_rel *r)
{
	const struct od_rel *meant = od_rel_meant(&s, r);
	struct od_obj *o = s->obj;
	const struct od_sym *y;
	struct od_target t = {NULL, NULL, 0};
	const struct od_def *def;

	if (meant)
		r = meant;
	y = &o->sym[r->sym];
	t.sym = y;
	t.off = (int64_t)(y->value + (uint64_t)r->addend);

	if (y->bind != STB_LOCAL && *y->name) {
		/* also where the unit has a (weak) definition of its own: another one may have won */
		def = od_find(globals, y->name);
		if (def) {
			t.sec = def->sec;
			t.sym = def->sym;
			t.off = (int64_t)(def->sym->value + (uint64_t)r->addend);
		}
	} else if (y->shndx && y->shndx < o->sec_count) {
		t.sec = &o->sec[y->shndx];
	}
	return t;
}

uint64_t od_content_offset(const struct od_sec *from, const struct od_rel *r, const struct od_target *t)
{
	/* A named label is the start of the content; a section symbol needs the operand's own bias undone. */
	if (t->sym->type != STT_SECTION)
		return t->sym->value;
	return (uint64_t)(t->off + od_rel_bias(from, r));
}

struct od_sec *od_owner(struct od_sec *s)
{
	return s->hot ? s->hot : s;
}
