/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the author of the patch adds to the module besides the change: callbacks and states (<klp/patch.h>). Nothing
 * that is replaced refers to them, so they are included by name, with all that they need.
 */
#include <stdlib.h>
#include <string.h>
#include "tools/klp-build/objdiff/diff.h"

#define STATE_RECORD 24u /* id, version, ...: struct klp_state_ of <klp/patch.h> */

static const char *text_of(const json_t *s, const char *key)
{
	const char *t = json_string_value(json_object_get(s, key));

	return t ? t : "";
}

static bool is_state(const json_t *s)
{
	return !strcmp(text_of(s, "kind"), "state");
}

static bool is_authored(const json_t *s)
{
	return strcmp(text_of(s, "kind"), "layout") && strcmp(text_of(s, "kind"), "data");
}

/* The section of the statement's symbol in the unit that it stands in; NULL if it is not what the header makes. */
static struct od_sec *section_of(struct od *d, const json_t *s, const struct od_sym **sym)
{
	for (size_t i = 0; i < d->count; i++) {
		struct od_obj *o = &d->after[i];

		if (!o->sec_count || strcmp(o->unit, text_of(s, "file")))
			continue;
		for (size_t k = 1; k < o->sym_count; k++) {
			struct od_sym *y = &o->sym[k];

			if (strcmp(y->name, text_of(s, "why")) || !y->shndx || y->shndx >= o->sec_count ||
			    o->sec[y->shndx].kind != (is_state(s) ? OD_DATA : OD_CODE))
				continue;
			*sym = y;
			return &o->sec[y->shndx];
		}
	}
	return NULL;
}

bool od_has_authored(const struct od *d)
{
	size_t i;
	json_t *s;

	json_array_foreach(d->statements, i, s) if (is_authored(s)) return true;
	return false;
}

void od_include_authored(struct od *d)
{
	size_t i;
	json_t *s;

	json_array_foreach(d->statements, i, s)
	{
		const struct od_sym *y;
		struct od_sec *sec = is_authored(s) ? section_of(d, s, &y) : NULL;

		if (!is_authored(s))
			continue;
		if (!sec || sec->several || !y->size ||
		    (is_state(s) && (y->size != STATE_RECORD || !sec->data || sec->size < y->value + STATE_RECORD)))
			od_refuse(
			    d, text_of(s, "name"), "", text_of(s, "file"),
			    "use the <klp/patch.h> of this version of klp, and -ffunction-sections -fdata-sections",
			    "its %s statement cannot be found in the unit", text_of(s, "kind"));
		else if (sec->peer)
			od_refuse(d, text_of(s, "name"), "", text_of(s, "file"), "state it in the diff",
				  "its %s statement is in the original tree already", text_of(s, "kind"));
		else
			od_include(d, sec, is_state(s) ? "state" : "callback");
	}
}

static uint32_t word_at(const struct od_sec *sec, const struct od_sym *y, size_t n)
{
	uint32_t v;

	memcpy(&v, sec->data + y->value + n * sizeof(v), sizeof(v));
	return v;
}

json_t *od_callbacks(struct od *d)
{
	json_t *all = json_object(), *s;
	size_t i;

	json_array_foreach(d->statements, i, s) if (is_authored(s) && !is_state(s))
	    json_object_set_new(all, text_of(s, "kind"),
				json_pack("{s:s, s:s}", "function", text_of(s, "name"), "symbol", text_of(s, "why")));
	return all;
}

json_t *od_states(struct od *d)
{
	json_t *list = json_array(), *s, *other;
	size_t i, k;

	json_array_foreach(d->statements, i, s)
	{
		const struct od_sym *y;
		const struct od_sec *sec = is_state(s) ? section_of(d, s, &y) : NULL;
		bool twice = false;

		if (!sec)
			continue;
		json_array_foreach(list, k, other) twice |=
		    json_integer_value(json_object_get(other, "id")) == word_at(sec, y, 0);
		if (twice)
			od_refuse(d, text_of(s, "name"), "", text_of(s, "file"), "state it once",
				  "a second statement of state %u", word_at(sec, y, 0));
		json_array_append_new(list,
				      json_pack("{s:I, s:I, s:s}", "id", (json_int_t)word_at(sec, y, 0), "version",
						(json_int_t)word_at(sec, y, 1), "symbol", text_of(s, "why")));
	}
	return list;
}
