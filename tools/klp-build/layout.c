/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do types that a unit has in both trees agree in their layout? Objects of the old layout live in the running process:
 * a member that moved, a type that grew or an enumerator with another value is refused, whether or not the compared
 * code shows it.
 */
#include "klp-build.h"
#include "dwarf-unit.h"
#include "member-type.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define KB_MAX_TYPE_DEPTH 32

static bool kb_is_compound(Dwarf_Half tag)
{
	return tag == DW_TAG_structure_type || tag == DW_TAG_union_type || tag == DW_TAG_class_type;
}

static void kb_add_members(Dwarf_Debug dbg, Dwarf_Die type, const char *prefix, json_t *out, int depth);

static void kb_add_member(Dwarf_Debug dbg, Dwarf_Die m, const char *key, const char *place, json_t *out, int depth)
{
	long long at = 0, bits = 0, bit = -1;
	Dwarf_Die without_name = NULL;
	char *kind = kb_member_type(dbg, m, &without_name), *below;

	kb_dwarf_number(dbg, m, DW_AT_data_member_location, &at);
	kb_dwarf_number(dbg, m, DW_AT_bit_size, &bits);
	if (!kb_dwarf_number(dbg, m, DW_AT_data_bit_offset, &bit))
		kb_dwarf_number(dbg, m, DW_AT_bit_offset, &bit);
	if (bits)
		json_object_set_new_nocheck(out, key,
					    json_sprintf("%s %lld, bit %lld of %lld, %s", place, at, bit, bits, kind));
	else
		json_object_set_new_nocheck(out, key, json_sprintf("%s %lld, %s", place, at, kind));
	if (without_name) {
		below = kb_format("%s.", key);
		if (depth < KB_MAX_TYPE_DEPTH)
			kb_add_members(dbg, without_name, below, out, depth + 1);
		free(below);
		dwarf_dealloc_die(without_name);
	}
	free(kind);
}

/* A C++ class's variable, which is no part of its objects. */
static bool kb_is_static(Dwarf_Debug dbg, Dwarf_Die member)
{
	Dwarf_Error error = NULL;
	Dwarf_Bool external = 0;

	if (dwarf_hasattr(member, DW_AT_external, &external, &error) != DW_DLV_OK)
		external = 0;
	dwarf_dealloc_error(dbg, error);
	return external;
}

/* Name: place and kind of every member, those of members without a name included. */
static void kb_add_members(Dwarf_Debug dbg, Dwarf_Die type, const char *prefix, json_t *out, int depth)
{
	/* Another way to use the room of a union is no new room. */
	const char *place = kb_dwarf_tag(type) == DW_TAG_union_type ? "alternative at" : "offset";
	size_t anonymous = 0, bases = 0, slots = 0;

	for (Dwarf_Die m = kb_dwarf_next(dbg, type, true), next; m; m = next) {
		Dwarf_Half tag = kb_dwarf_tag(m);
		char *name = kb_dwarf_name(dbg, m), *key = NULL, *linkage;
		long long value;

		if (tag == DW_TAG_enumerator && name) {
			if (kb_dwarf_number(dbg, m, DW_AT_const_value, &value))
				json_object_set_new_nocheck(out, name, json_sprintf("value %lld", value));
		} else if (tag == DW_TAG_member && !kb_is_static(dbg, m)) {
			key = name ? kb_format("%s%s", prefix, name) : kb_format("%s#%zu", prefix, anonymous++);
			kb_add_member(dbg, m, key, place, out, depth);
		} else if (tag == DW_TAG_inheritance) {
			key = kb_format("%sbase class %zu", prefix, bases++);
			kb_add_member(dbg, m, key, place, out, depth);
		} else if (tag == DW_TAG_subprogram && name && kb_dwarf_number(dbg, m, DW_AT_virtuality, &value) &&
			   value) {
			/* Objects that exist have the old table. */
			linkage = kb_dwarf_string(dbg, m, DW_AT_linkage_name);
			key = kb_format("%svirtual %s", prefix, linkage ? linkage : name);
			json_object_set_new_nocheck(out, key, json_sprintf("slot %zu", slots++));
			free(linkage);
		}
		free(key);
		next = kb_dwarf_next(dbg, m, false);
		dwarf_dealloc_die(m);
	}
}

static void kb_add_type(Dwarf_Debug dbg, Dwarf_Die type, const char *name, json_t *out)
{
	json_t *members = json_object();
	long long size;

	if (kb_dwarf_number(dbg, type, DW_AT_byte_size, &size)) {
		kb_add_members(dbg, type, "", members, 0);
		json_object_set_new_nocheck(out, name,
					    json_pack("{s:I, s:O}", "size", (json_int_t)size, "members", members));
	}
	json_decref(members);
}

/* The types that stand in a unit, a namespace or a class. */
static void kb_types_in(Dwarf_Debug dbg, Dwarf_Die in, const char *scope, json_t *out, int depth)
{
	for (Dwarf_Die d = kb_dwarf_next(dbg, in, true), next; d; d = next) {
		Dwarf_Half tag = kb_dwarf_tag(d);
		char *name = kb_dwarf_name(dbg, d), *full = NULL, *inner = NULL;

		if (name && (kb_is_compound(tag) || tag == DW_TAG_enumeration_type)) {
			full = kb_format("%s %s%s",
					 tag == DW_TAG_union_type         ? "union"
					 : tag == DW_TAG_enumeration_type ? "enum"
									  : "struct",
					 scope, name);
			kb_add_type(dbg, d, full, out);
		} else if (name && tag == DW_TAG_typedef) {
			Dwarf_Die of = kb_dwarf_entry(dbg, d, DW_AT_type);

			full = kb_format("%s%s", scope, name);
			if (of && (kb_is_compound(kb_dwarf_tag(of)) || kb_dwarf_tag(of) == DW_TAG_enumeration_type) &&
			    !kb_dwarf_name(dbg, of))
				kb_add_type(dbg, of, full, out);
			if (of)
				dwarf_dealloc_die(of);
		}
		if (depth < KB_MAX_TYPE_DEPTH && (tag == DW_TAG_namespace || (name && kb_is_compound(tag)))) {
			inner = kb_format("%s%s::", scope, name ? name : "(anonymous namespace)");
			kb_types_in(dbg, d, inner, out, depth + 1);
		}
		free(inner);
		free(full);
		next = kb_dwarf_next(dbg, d, false);
		dwarf_dealloc_die(d);
	}
}

static void kb_add_unit(void *ctx, Dwarf_Debug dbg, Dwarf_Die cu)
{
	json_t **out = ctx;

	if (!*out)
		*out = json_object();
	kb_types_in(dbg, cu, "", *out, 0);
}

json_t *kb_layouts(const char *path)
{
	json_t *out = NULL;

	kb_dwarf_each_unit(path, kb_add_unit, &out);
	return out;
}

/* The first member, in the order of the new type, that is another one, or `fresh` and there was none. */
static char *kb_other_member(const json_t *was, const json_t *is, bool fresh)
{
	const char *name, *then, *now;
	json_t *at;

	json_object_foreach((json_t *)(uintptr_t)is, name, at)
	{
		now = json_string_value(at);
		then = json_string_value(json_object_get(was, name));
		if (then && strcmp(now, then))
			return kb_format("%s changes from %s to %s", name, then, now);
		if (fresh && !then && (!strncmp(now, "offset", 6) || !strncmp(now, "slot", 4)))
			return kb_format("%s is new", *name == '#' ? "a member without a name" : name);
	}
	return NULL;
}

static char *kb_lost_member(const json_t *was, const json_t *is)
{
	const char *name;
	json_t *at;

	json_object_foreach((json_t *)(uintptr_t)was, name, at)
	{
		if (!json_object_get(is, name) && *name != '#')
			return kb_format("%s is removed or renamed", name);
	}
	return NULL;
}

static char *kb_type_difference(const json_t *a, const json_t *b)
{
	const json_t *was = json_object_get(a, "members"), *is = json_object_get(b, "members");
	json_int_t old = json_integer_value(json_object_get(a, "size")),
		   size = json_integer_value(json_object_get(b, "size"));
	bool grows = old != size;
	char *first = kb_other_member(was, is, grows), *reason;

	if (!first)
		first = kb_lost_member(was, is);
	if (grows) {
		reason = kb_format("its size changes from %lld to %lld bytes%s%s", (long long)old, (long long)size,
				   first ? ": " : "", first ? first : "");
		free(first);
		return reason;
	}
	if (first)
		return first;
	/* A new member where there was no room before changes the size; here it takes padding or bits that nobody has
	 * set. */
	first = kb_other_member(was, is, true);
	if (!first)
		return NULL;
	reason = kb_format("%s, where there was %s", first,
			   strstr(first, "virtual ") ? "no such slot: existing objects have the old table"
						     : "padding: existing objects have no value for it");
	free(first);
	return reason;
}

void kb_layout_differences(const json_t *original, const json_t *patched,
			   void (*fn)(void *ctx, const char *type, const char *reason), void *ctx)
{
	const char *type;
	json_t *a;

	json_object_foreach((json_t *)(uintptr_t)original, type, a)
	{
		const json_t *b = json_object_get(patched, type);
		char *reason = b ? kb_type_difference(a, b) : NULL;

		if (reason)
			fn(ctx, type, reason);
		free(reason);
	}
}
