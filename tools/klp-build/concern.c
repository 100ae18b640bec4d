/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which changes of a type's layout concern the module. Debug information does not say which types a function uses
 * (sizeof, casts), so this is decided by what the units read: a type's layout changes in a unit because a file changes
 * that it reads. A unit of the module that reads none of the changed files of that unit sees the type as it was, or not
 * at all. In doubt a type concerns the module.
 */
#include "drive.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct kb_concern {
	struct kb_drive *d;
	json_t *changed;        /* key of a unit: {path: true} of the changed files that it reads; null: not known */
	json_t *module;         /* key: true of the units of which the module has anything */
	json_t *said;           /* type and reason: true */
	const char *key, *file; /* the unit that is being compared */
	json_t *types;          /* of it: differences that nobody has reported */
};

/* What the unit reads, and in the other tree does not read or has read with another content. */
static bool kb_add_changed(const json_t *unit, const json_t *other, json_t *changed)
{
	json_t *deps = json_object_get(unit, "deps"), *was = json_object_get(other, "deps"), *sha;
	const char *path;

	if (!json_is_object(deps) || (other && !json_is_object(was)))
		return false;
	json_object_foreach(deps, path, sha)
	{
		if (!json_equal(sha, json_object_get(was, path)))
			json_object_set_new_nocheck(changed, path, json_true());
	}
	return true;
}

static json_t *kb_changed_files(const json_t *before, const json_t *after)
{
	json_t *changed = json_object();

	if ((before && !kb_add_changed(before, after, changed)) || (after && !kb_add_changed(after, before, changed)) ||
	    !json_object_size(changed)) {
		json_decref(changed);
		return json_null();
	}
	return changed;
}

/* A diff of what no compilation reads can change how everything is compiled. */
static bool kb_touches_build(const struct kb_drive *d)
{
	const char *file, *key, *path;
	json_t *yes, *unit, *sha;

	json_object_foreach(d->touched, file, yes)
	{
		bool read = false;

		for (size_t i = 0; i < d->target_count; i++)
			json_object_foreach(d->target[i].patched_units, key, unit)
			    json_object_foreach(json_object_get(unit, "deps"), path, sha) read =
				read || !strcmp(kb_relative(d, path), file);
		if (!read)
			return true;
	}
	return false;
}

static bool kb_is_of_module(const json_t *found, const char *file)
{
	static const char *const lists[] = {"changed", "new", "data"};
	size_t i;
	json_t *e;

	for (size_t k = 0; k < sizeof(lists) / sizeof(*lists); k++)
		json_array_foreach(json_object_get(found, lists[k]), i,
				   e) if (!strcmp(kb_str(e, "file"), file)) return true;
	return false;
}

static void kb_sort_units(struct kb_concern *c, const struct kb_target *t)
{
	bool doubt = kb_touches_build(c->d);
	const char *key;
	json_t *unit;

	json_object_foreach(t->patched_units, key, unit)
	{
		json_object_set_new(c->changed, key,
				    doubt ? json_null()
					  : kb_changed_files(json_object_get(t->original_units, key), unit));
		if (kb_is_of_module(t->found, kb_relative(c->d, kb_str(unit, "source"))))
			json_object_set_new(c->module, key, json_true());
	}
}

/* Does a unit of the module see what makes the type of unit `key` another one? */
static bool kb_concerns(const struct kb_concern *c, const char *key)
{
	const json_t *why = json_object_get(c->changed, key), *seen;
	const char *of, *path;
	json_t *yes;

	json_object_foreach(c->module, of, yes)
	{
		seen = json_object_get(c->changed, of);
		if (!strcmp(of, key) || !json_is_object(why) || !json_is_object(seen))
			return true;
		json_object_foreach((json_t *)(uintptr_t)why, path, yes) if (json_object_get(seen, path)) return true;
	}
	return false;
}

static void kb_decide_layout(void *ctx, const char *type, const char *reason)
{
	struct kb_concern *c = ctx;
	const json_t *statement = kb_statement_about(c->d, "layout", type);
	char *once = kb_format("%s\n%s", type, reason), *text, *advice;

	/* A header's type is in many units; it is said once. */
	if (json_object_get(c->said, once))
		goto out;
	if (!kb_concerns(c, c->key)) {
		json_object_set_new_nocheck(c->types, once, json_sprintf("%s of %s: %s", type, c->file, reason));
		goto out;
	}
	json_object_set_new_nocheck(c->said, once, json_true());
	if (statement) {
		text = kb_format("the type's layout changes: %s; accepted by its author: %s", reason,
				 kb_str(statement, "why"));
		kb_accept(c->d, type, c->file, text);
	} else {
		text =
		    kb_format("the type's layout changes: %s; objects of the old layout live in the process", reason);
		advice = kb_format("keep the layout: put new members into an object of their own; or state "
				   "KLP_LAYOUT_OK(%s, \"why\") of <klp/patch.h>",
				   type);
		kb_refuse(c->d, type, c->file, text, advice);
		free(advice);
	}
	free(text);
out:
	free(once);
}

static void kb_note_rest(const struct kb_concern *c, size_t unknown)
{
	const char *once;
	json_t *text;

	json_object_foreach(c->types, once, text) if (!json_object_get(c->said, once)) json_array_append_new(
	    c->d->run->notes,
	    json_sprintf("the layout of %s; it does not concern the module: no unit that is in it reads what changes "
			 "the type",
			 json_string_value(text)));
	if (unknown)
		json_array_append_new(c->d->run->notes,
				      json_sprintf("%zu of the units that changed have no debug information (-g): the "
						   "layouts of their types were not compared",
						   unknown));
}

/* Of the target that is looked at; returns how many units could not be compared. */
static size_t kb_compare_layouts(struct kb_concern *c)
{
	struct kb_drive *d = c->d;
	size_t unknown = 0;
	json_t *unit;

	json_object_foreach(d->t->patched_units, c->key, unit)
	{
		const json_t *other = json_object_get(d->t->original_units, c->key);
		json_t *was, *is;

		if (!other || json_is_true(json_object_get(unit, "asm")) ||
		    !strcmp(kb_str(unit, "sha"), kb_str(other, "sha")))
			continue;
		was = kb_layouts(kb_str(other, "kept"));
		is = kb_layouts(kb_str(unit, "kept"));
		c->file = kb_relative(d, kb_str(unit, "source"));
		if (was && is)
			kb_layout_differences(was, is, kb_decide_layout, c);
		else
			unknown++;
		json_decref(was);
		json_decref(is);
	}
	return unknown;
}

/* One target's object of another layout is as well seen by the new code of another target. */
bool kb_check_layouts(struct kb_drive *d)
{
	struct kb_concern c = {
	    .d = d, .changed = json_object(), .module = json_object(), .said = json_object(), .types = json_object()};
	size_t before = json_array_size(json_object_get(d->report, "refused")), unknown = 0;

	for (size_t i = 0; i < d->target_count; i++)
		kb_sort_units(&c, &d->target[i]);
	for (size_t i = 0; i < d->target_count; i++) {
		d->t = &d->target[i];
		unknown += kb_compare_layouts(&c);
	}
	kb_note_rest(&c, unknown);
	for (size_t i = 0; i < d->target_count; i++) {
		d->t = &d->target[i];
		kb_note_statements(d, "layout");
	}
	json_decref(c.changed);
	json_decref(c.module);
	json_decref(c.said);
	json_decref(c.types);
	return json_array_size(json_object_get(d->report, "refused")) == before;
}
