/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do types that a unit has in both trees agree in their layout? Objects of the old layout live in the running process:
 * a member that moved, a type that grew or an enumerator with another value is refused, whether or not the compared
 * code shows it.
 */
#include "klp-build.h"
#include "dwarf-unit.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define KB_MAX_TYPE_DEPTH 32

static bool kb_unsigned(Dwarf_Debug dbg, Dwarf_Die die, Dwarf_Half at, long long *out)
{
	Dwarf_Error error = NULL;
	Dwarf_Attribute attr = NULL;
	Dwarf_Unsigned u;
	Dwarf_Signed s;
	bool ok = true;

	if (dwarf_attr(die, at, &attr, &error) != DW_DLV_OK) {
		dwarf_dealloc_error(dbg, error);
		return false;
	}
	if (dwarf_formudata(attr, &u, &error) == DW_DLV_OK) {
		*out = (long long)u;
	} else {
		dwarf_dealloc_error(dbg, error);
		error = NULL;
		ok = dwarf_formsdata(attr, &s, &error) == DW_DLV_OK;
		if (ok)
			*out = s;
		dwarf_dealloc_error(dbg, error);
	}
	dwarf_dealloc_attribute(attr);
	return ok;
}

/* The type that the entry refers to; the caller frees. */
static Dwarf_Die kb_type_of(Dwarf_Debug dbg, Dwarf_Die die)
{
	Dwarf_Error error = NULL;
	Dwarf_Attribute attr = NULL;
	Dwarf_Die type = NULL;
	Dwarf_Off off;

	if (dwarf_attr(die, DW_AT_type, &attr, &error) == DW_DLV_OK) {
		if (dwarf_global_formref(attr, &off, &error) != DW_DLV_OK ||
		    dwarf_offdie_b(dbg, off, 1, &type, &error) != DW_DLV_OK)
			type = NULL;
		dwarf_dealloc_attribute(attr);
	}
	dwarf_dealloc_error(dbg, error);
	return type;
}

static bool kb_is_compound(Dwarf_Half tag)
{
	return tag == DW_TAG_structure_type || tag == DW_TAG_union_type || tag == DW_TAG_class_type;
}

/* Name: place of every member, those of members without a name included. */
static void kb_members(Dwarf_Debug dbg, Dwarf_Die type, const char *prefix, json_t *out, int depth)
{
	/* Another way to use the room of a union is no new room. */
	const char *place = kb_dwarf_tag(type) == DW_TAG_union_type ? "alternative at" : "offset";
	size_t anonymous = 0;

	for (Dwarf_Die m = kb_dwarf_next(dbg, type, true), next; m; m = next) {
		Dwarf_Half tag = kb_dwarf_tag(m);
		long long at = 0, bits = 0, bit = -1, size = -1;
		char *name = kb_dwarf_name(dbg, m), *key;

		if (tag == DW_TAG_enumerator && name) {
			if (kb_unsigned(dbg, m, DW_AT_const_value, &at))
				json_object_set_new_nocheck(out, name, json_sprintf("value %lld", at));
		} else if (tag == DW_TAG_member) {
			Dwarf_Die of = kb_type_of(dbg, m);

			kb_unsigned(dbg, m, DW_AT_data_member_location, &at);
			kb_unsigned(dbg, m, DW_AT_bit_size, &bits);
			if (!kb_unsigned(dbg, m, DW_AT_data_bit_offset, &bit))
				kb_unsigned(dbg, m, DW_AT_bit_offset, &bit);
			key = name ? kb_format("%s%s", prefix, name) : kb_format("%s#%zu", prefix, anonymous++);
			if (of)
				kb_unsigned(dbg, of, DW_AT_byte_size, &size);
			json_object_set_new_nocheck(
			    out, key, json_sprintf("%s %lld, bit %lld of %lld, size %lld", place, at, bit, bits, size));
			if (of && kb_is_compound(kb_dwarf_tag(of)) && !kb_dwarf_name(dbg, of) &&
			    depth < KB_MAX_TYPE_DEPTH) {
				char *below = kb_format("%s.", key);

				kb_members(dbg, of, below, out, depth + 1);
				free(below);
			}
			free(key);
			if (of)
				dwarf_dealloc_die(of);
		}
		next = kb_dwarf_next(dbg, m, false);
		dwarf_dealloc_die(m);
	}
}

static void kb_add_type(Dwarf_Debug dbg, Dwarf_Die type, const char *name, json_t *out)
{
	json_t *members = json_object();
	long long size;

	if (kb_unsigned(dbg, type, DW_AT_byte_size, &size)) {
		kb_members(dbg, type, "", members, 0);
		json_object_set_new_nocheck(out, name,
					    json_pack("{s:I, s:O}", "size", (json_int_t)size, "members", members));
	}
	json_decref(members);
}

static void kb_unit_types(Dwarf_Debug dbg, Dwarf_Die cu, json_t *out)
{
	for (Dwarf_Die d = kb_dwarf_next(dbg, cu, true), next; d; d = next) {
		Dwarf_Half tag = kb_dwarf_tag(d);
		char *name = kb_dwarf_name(dbg, d), *full;

		if (name && (kb_is_compound(tag) || tag == DW_TAG_enumeration_type)) {
			full = kb_format("%s %s",
					 tag == DW_TAG_union_type         ? "union"
					 : tag == DW_TAG_enumeration_type ? "enum"
									  : "struct",
					 name);
			kb_add_type(dbg, d, full, out);
			free(full);
		} else if (name && tag == DW_TAG_typedef) {
			Dwarf_Die of = kb_type_of(dbg, d);

			if (of && (kb_is_compound(kb_dwarf_tag(of)) || kb_dwarf_tag(of) == DW_TAG_enumeration_type) &&
			    !kb_dwarf_name(dbg, of))
				kb_add_type(dbg, of, name, out);
			if (of)
				dwarf_dealloc_die(of);
		}
		next = kb_dwarf_next(dbg, d, false);
		dwarf_dealloc_die(d);
	}
}

static void kb_add_unit(void *ctx, Dwarf_Debug dbg, Dwarf_Die cu)
{
	json_t **out = ctx;

	if (!*out)
		*out = json_object();
	kb_unit_types(dbg, cu, *out);
}

json_t *kb_layouts(const char *path)
{
	json_t *out = NULL;

	kb_dwarf_each_unit(path, kb_add_unit, &out);
	return out;
}

/* A new member where there was no room before changes the size; here it takes padding or bits that nobody has set. */
static char *kb_new_member(const json_t *was, const json_t *is)
{
	const char *name;
	json_t *at;

	json_object_foreach((json_t *)(uintptr_t)is, name, at)
	{
		if (json_object_get(was, name) || strncmp(json_string_value(at), "offset", 6))
			continue;
		return kb_format("%s is new, where there was padding: existing objects have no value for it",
				 *name == '#' ? "a member without a name" : name);
	}
	return NULL;
}

void kb_layout_differences(const json_t *original, const json_t *patched,
			   void (*fn)(void *ctx, const char *type, const char *reason), void *ctx)
{
	json_t *a, *at;
	const char *type, *name;

	json_object_foreach((json_t *)(uintptr_t)original, type, a)
	{
		const json_t *b = json_object_get(patched, type), *members = json_object_get(b, "members");
		json_int_t was = json_integer_value(json_object_get(a, "size")),
			   is = json_integer_value(json_object_get(b, "size"));
		char *reason = NULL;

		if (!b)
			continue;
		if (was != is)
			reason = kb_format("its size changes from %lld to %lld bytes", (long long)was, (long long)is);
		json_object_foreach(json_object_get(a, "members"), name, at)
		{
			const char *now = json_string_value(json_object_get(members, name)),
				   *then = json_string_value(at);

			if (!reason && now && then && strcmp(now, then))
				reason = kb_format("%s changes from %s to %s", name, then, now);
			else if (!reason && !now && *name != '#')
				reason = kb_format("%s is removed or renamed", name);
		}
		if (!reason)
			reason = kb_new_member(json_object_get(a, "members"), members);
		if (reason)
			fn(ctx, type, reason);
		free(reason);
	}
}
