/* SPDX-License-Identifier: Apache-2.0 */
/* What goes into the module, and what is refused. */
#include <string.h>
#include "tools/klp-build/objdiff/diff.h"

static bool defined(const struct od_map *m, const struct od_sec *s)
{
	const struct od_sym *y = s->sym ? &s->obj->sym[s->sym] : NULL;
	const struct od_def *def;

	if (!y || y->bind == STB_LOCAL)
		return true;
	def = od_find(m, y->name);
	return def && def->sec == s;
}

/* What included code or data needs and the target does not have comes along. */
static void include_targets(struct od *d, struct od_sec *s)
{
	for (size_t k = 0; k < s->rel_count; k++) {
		struct od_target t = od_resolve(&d->global_after, s, &s->rel[k]);

		if (!t.sec || t.sec->included || t.sec == s)
			continue;
		switch (t.sec->kind) {
		case OD_ANON:
		case OD_CONSTS:
			od_include(d, t.sec, "belongs to its function");
			break;
		case OD_CODE:
			if (!t.sec->peer || od_owner(t.sec) == od_owner(s))
				od_include(d, t.sec, t.sec->peer ? "part of a changed function" : "new function");
			break;
		case OD_RODATA:
		case OD_DATA:
			if (!t.sec->peer)
				od_include(d, t.sec, "new data");
			break;
		case OD_TLS:
			if (!t.sec->peer)
				od_refuse_sec(d, t.sec, "use a shadow variable or a plain variable",
					      "new thread-local variable: the threads that exist have no room for it");
			break;
		default:
			break;
		}
	}
}

static void include_parts(struct od *d, struct od_sec *s)
{
	include_targets(d, s);
	if (s->kind != OD_CODE)
		return;
	if (s->partner)
		od_include(d, s->partner, "exception table of a changed function");
	/* all parts of a function travel together */
	for (size_t i = 0; i < s->obj->sec_count; i++) {
		struct od_sec *o = &s->obj->sec[i];

		if (o != s && o->kind == OD_CODE && od_owner(o) == od_owner(s) && (o->hot || s->hot))
			od_include(d, o, "part of a changed function");
	}
}

/* One after the other: what leads to what may be a chain of any length. */
void od_include(struct od *d, struct od_sec *s, const char *reason)
{
	if (s->included)
		return;
	s->included = true;
	s->reason = reason;
	d->to_include =
	    od_room(&d->pool, d->to_include, d->to_include_count, &d->to_include_room, sizeof(*d->to_include));
	d->to_include[d->to_include_count++] = s;
	if (d->including)
		return;
	d->including = true;
	while (d->to_include_count)
		include_parts(d, d->to_include[--d->to_include_count]);
	d->including = false;
}

static void include_code(struct od *d, struct od_sec *s, const char *reason)
{
	struct od_sec *f = od_owner(s);

	if (f->unlinked)
		return;
	if (f->obj->assembly) {
		od_refuse_sec(d, f, "change it in C, or restart the program", "assembly changed");
		return;
	}
	if (f->several || (!f->sym && f->size)) {
		od_refuse_sec(d, f, "build with -ffunction-sections",
			      "more than one function shares a changed section, so they cannot be told apart");
		return;
	}
	if (f->constructor) {
		od_refuse_sec(d, f, "make the change in a function that runs later",
			      "it runs only at start or exit (constructor or destructor)");
		return;
	}
	od_include(d, f, reason);
}

/*
 * A changed constant: the functions that refer to it move to a copy. Allowed only if nothing else can hold the address
 * of the old one (hazard S1): every reference, in both trees, is from code, and that code only loads through it.
 * Here everything in one tree that refers to the constant, which is `own` there. false: refused.
 */
static bool only_loaded(struct od *d, struct od_obj *objects, const struct od_map *globals, const struct od_sec *own,
			struct od_sec *s, const char *advice, bool *found)
{
	for (size_t i = 0; i < d->count; i++) {
		struct od_obj *o = &objects[i];

		for (size_t k = 0; k < o->sec_count; k++) {
			struct od_sec *from = &o->sec[k];

			if (from->kind == OD_IGNORE)
				continue;
			for (size_t n = 0; n < from->rel_count; n++) {
				if (od_resolve(globals, from, &from->rel[n]).sec != own)
					continue;
				/* a copy would be used by nobody if only data lead there */
				*found |= from->kind == OD_CODE;
				if (from->kind != OD_CODE &&
				    !od_accept(d, s, "data leads to the constant that changes: it keeps the old one")) {
					od_refuse_sec(d, s, advice,
						      "changed constant data is reached through %s, not only from code",
						      from == own ? "itself" : od_sec_label(from));
					return false;
				}
				if (from->kind == OD_CODE && !od_only_loads(from, &from->rel[n]) &&
				    !od_accept(
					d, s,
					"pointers to the constant that changes may be stored: they keep the old one")) {
					od_refuse_sec(
					    d, s, advice,
					    "the address of changed constant data is stored, passed or returned in %s",
					    od_sec_label(od_owner(from)));
					return false;
				}
			}
		}
	}
	return true;
}

static void clone_constant(struct od *d, struct od_sec *s)
{
	const char *advice = s->peer && s->size == s->peer->size
				 ? "old instances keep the old table: change the code that uses it, or state "
				   "KLP_DATA_OK of <klp/patch.h> if that is right"
				 : "old instances keep the old table: change the code that uses it";
	bool found = false, before = false;

	if (s->refused)
		return;
	/* The code of the original has run, and may have stored the address, though the patched code does not. */
	if (!only_loaded(d, d->after, &d->global_after, s, s, advice, &found) ||
	    (s->peer && !only_loaded(d, d->before, &d->global_before, s->peer, s, advice, &before)))
		return;
	if (!found) {
		od_refuse_sec(d, s, advice, "changed constant data that no code of the program refers to directly");
		return;
	}
	od_include(d, s, "changed constant: a copy for the functions of the module");
	for (size_t i = 0; i < d->count; i++) {
		struct od_obj *o = &d->after[i];

		for (size_t k = 0; k < o->sec_count; k++) {
			struct od_sec *from = &o->sec[k];

			for (size_t n = 0; from->kind == OD_CODE && n < from->rel_count; n++)
				if (od_resolve(&d->global_after, from, &from->rel[n]).sec == s)
					include_code(d, from, "refers to a changed constant");
		}
	}
}

/* Does a section of several functions or data have one that the other tree's unit has, too? */
static bool shares_a_name(const struct od_sec *s, const struct od_obj *other)
{
	const struct od_obj *o = s->obj;

	for (size_t i = 1; i < o->sym_count; i++) {
		const struct od_sym *y = &o->sym[i];

		if (y->shndx != s->index || !*y->name || y->type == STT_SECTION)
			continue;
		for (size_t k = 1; k < other->sym_count; k++)
			if (other->sym[k].shndx && other->sym[k].shndx < other->sec_count &&
			    !strcmp(other->sym[k].name, y->name))
				return true;
	}
	return false;
}

/* Nothing is known of what is in a section that is shared, and not the same in the other tree. */
static void refuse_shared(struct od *d, struct od_sec *s, const struct od_obj *other)
{
	if (s->several && !s->peer && !s->refused && !s->unlinked &&
	    (s->kind == OD_CODE || s->kind == OD_RODATA || s->kind == OD_DATA || s->kind == OD_TLS) &&
	    shares_a_name(s, other))
		od_refuse_sec(d, s, "build with -ffunction-sections -fdata-sections",
			      "several functions or data share the section %s, and it is not the same in both trees",
			      s->name);
}

static void decide_section(struct od *d, struct od_sec *s)
{
	const char *data = s->peer && s->size == s->peer->size
			       ? "set it in code that runs, or state KLP_DATA_OK of <klp/patch.h> if the old value is "
				 "right"
			       : "put what is new into a variable of its own";

	/* not the copy that the link takes (a weak or COMDAT definition that lost): the winner is compared itself */
	if (!defined(&d->global_after, s))
		return;
	switch (s->kind) {
	case OD_EXCEPT:
		if (s->changed && s->partner)
			include_code(d, s->partner, "its exception table changed");
		break;
	case OD_CODE:
		if (s->changed)
			include_code(d, s, s->hot ? "its cold part changed" : "code changed");
		break;
	case OD_RODATA:
		if (s->changed && s->several)
			od_refuse_sec(d, s, "build with -fdata-sections", "several data share a changed section");
		else if (s->changed)
			clone_constant(d, s);
		break;
	case OD_DATA:
		if (s->changed && !od_accept(d, s, "its initial value changes: the running program keeps its own"))
			od_refuse_sec(d, s, data,
				      "initialised or resized variable changed: the running program has its own value");
		break;
	case OD_TLS:
		if (s->changed)
			od_refuse_sec(d, s, "set it in code that runs", "thread-local variable changed");
		break;
	case OD_INIT:
		if (s->changed || !s->peer)
			od_refuse_sec(d, s, "make the change in a function that runs later",
				      "%s: it runs only at start or exit", s->peer ? "changed" : "new");
		break;
	case OD_UNKNOWN:
		if (s->changed || (!s->peer && s->size))
			od_refuse_sec(d, s, "report the section to klp's authors",
				      "klp-build does not know what this section is for, and it %s",
				      s->peer ? "changed" : "is new");
		break;
	default:
		break;
	}
}

/* The same name must mean the same definition in both links for code that stays (weak defaults, new overrides). */
static void check_winners(struct od *d)
{
	for (size_t i = 0; i < d->global_before.size; i++) {
		const struct od_map_slot *a = &d->global_before.slot[i];
		const struct od_def *b;

		if (!a->name)
			continue;
		b = od_find(&d->global_after, a->name);
		if (b && b->sec->obj - d->after != a->def.sec->obj - d->before && a->def.sec->kind != OD_STRINGS &&
		    a->def.sec->kind != OD_IGNORE)
			od_refuse(d, a->name, b->sec->name, b->sec->obj->unit, "keep the definition where it is",
				  "its definition moves from %s to another unit", a->def.sec->obj->unit);
		else if (b && a->def.sec->peer && a->def.sec->peer != b->sec && b->sec->kind != OD_IGNORE)
			od_refuse(d, a->name, b->sec->name, b->sec->obj->unit, "keep what the name stands for",
				  "the name stands for something else in the patched program");
	}
	for (size_t i = 0; i < d->count; i++) {
		const struct od_obj *o = &d->before[i];

		for (size_t k = 1; k < o->sym_count; k++) {
			const struct od_sym *y = &o->sym[k];
			const struct od_def *b;

			if (y->shndx || y->bind == STB_LOCAL || od_find(&d->global_before, y->name))
				continue;
			b = od_find(&d->global_after, y->name);
			if (b)
				od_refuse(d, y->name, b->sec->name, b->sec->obj->unit,
					  "give the new definition another name",
					  "the program used another object's definition of it so far");
		}
	}
}

void od_decide(struct od *d)
{
	for (size_t i = 0; i < d->count; i++) {
		for (size_t k = 0; k < d->after[i].sec_count; k++) {
			refuse_shared(d, &d->after[i].sec[k], &d->before[i]);
			decide_section(d, &d->after[i].sec[k]);
		}
		for (size_t k = 0; k < d->before[i].sec_count; k++)
			refuse_shared(d, &d->before[i].sec[k], &d->after[i]);
	}
	od_include_authored(d);
	check_winners(d);
}

void od_refuse_unknown(struct od *d)
{
	for (size_t i = 0; i < d->count; i++)
		for (size_t k = 0; k < d->after[i].sec_count; k++) {
			struct od_sec *s = &d->after[i].sec[k];

			for (size_t n = 0; s->included && n < s->rel_count; n++) {
				uint32_t type = s->rel[n].type;
				const char *name = d->arch->rel_name ? d->arch->rel_name(type) : NULL;
				const struct od_sec *in = s;

				if (!od_rel_meant(&in, &s->rel[n]))
					od_refuse_sec(d, s, "report it to the compiler's authors",
						      "the low half of an address names no high half, or several");
				if (od_rel_info(s, &s->rel[n]).class == OD_REL_UNKNOWN)
					od_refuse_sec(d, s, "build without the option that makes it",
						      "a relocation that klp-build does not know: %s (type %u)",
						      name ? name : "it has no name here", type);
			}
		}
}

void od_account(struct od *d)
{
	for (size_t i = 0; i < d->count; i++) {
		for (size_t k = 0; k < d->after[i].sec_count; k++) {
			struct od_sec *s = &d->after[i].sec[k];

			if (s->changed && !s->included && !s->refused && !s->accepted && defined(&d->global_after, s) &&
			    !(od_owner(s)->refused || od_owner(s)->included))
				od_refuse_sec(d, s, "report it to klp's authors",
					      "changed, and no rule says what that means");
			if (!s->peer && s->kind == OD_CODE && s->sym && !s->included)
				od_note(d, "new function %s is not used by any changed function", od_sec_label(s));
		}
		for (size_t k = 0; k < d->before[i].sec_count; k++) {
			struct od_sec *s = &d->before[i].sec[k];

			if (s->peer || !s->size)
				continue;
			if (s->kind == OD_INIT || s->kind == OD_UNKNOWN)
				od_refuse_sec(d, s, "restart the program",
					      "removed, but it has had its effect at start");
			else if (s->sym && !s->hot &&
				 (s->kind == OD_CODE || s->kind == OD_RODATA || s->kind == OD_DATA))
				od_note(d, "%s %s of %s was removed", s->kind == OD_CODE ? "function" : "data",
					od_sec_label(s), s->obj->unit);
		}
	}
}
