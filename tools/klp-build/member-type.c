/* SPDX-License-Identifier: Apache-2.0 */
#include "member-type.h"

#include <stdint.h>
#include <stdlib.h>

#include "klp-build.h"

#define KB_MAX_CHAIN 64 /* typedefs of typedefs; damaged information may go round in circles */
#define KB_MAX_DIMENSIONS 16

static bool kb_is_transparent(Dwarf_Half tag)
{
	return tag == DW_TAG_typedef || tag == DW_TAG_const_type || tag == DW_TAG_volatile_type ||
	       tag == DW_TAG_restrict_type || tag == DW_TAG_atomic_type;
}

/* The number of elements in words, one for each dimension: "3 of 4 of ". */
static char *kb_dimensions(Dwarf_Debug dbg, Dwarf_Die array)
{
	char *all = kb_format("%s", ""), *more;
	unsigned n = 0;

	for (Dwarf_Die d = kb_dwarf_next(dbg, array, true), next; d; d = next) {
		long long count;

		if (kb_dwarf_tag(d) == DW_TAG_subrange_type && n++ < KB_MAX_DIMENSIONS) {
			if (kb_dwarf_number(dbg, d, DW_AT_upper_bound, &count))
				count = (long long)((unsigned long long)count + 1);
			else if (!kb_dwarf_number(dbg, d, DW_AT_count, &count))
				count = -1; /* a flexible array */
			more = count < 0 ? kb_format("%sany number of ", all) : kb_format("%s%lld of ", all, count);
			free(all);
			all = more;
		}
		next = kb_dwarf_next(dbg, d, false);
		dwarf_dealloc_die(d);
	}
	return all;
}

/* typedefs, qualifiers and arrays taken away; what arrays there were goes to *counts. NULL: void, or not known. */
static Dwarf_Die kb_element(Dwarf_Debug dbg, Dwarf_Die member, char **counts)
{
	Dwarf_Die t = kb_dwarf_entry(dbg, member, DW_AT_type);

	*counts = kb_format("%s", "");
	for (unsigned n = 0; t && n < KB_MAX_CHAIN; n++) {
		Dwarf_Half tag = kb_dwarf_tag(t);
		char *dimensions, *more;
		Dwarf_Die of;

		if (!kb_is_transparent(tag) && tag != DW_TAG_array_type)
			return t;
		if (tag == DW_TAG_array_type) {
			dimensions = kb_dimensions(dbg, t);
			more = kb_format("%s%s", *counts, dimensions);
			free(dimensions);
			free(*counts);
			*counts = more;
		}
		of = kb_dwarf_entry(dbg, t, DW_AT_type);
		dwarf_dealloc_die(t);
		t = of;
	}
	if (t)
		dwarf_dealloc_die(t);
	return NULL;
}

static const char *kb_encoding(long long encoding)
{
	switch (encoding) {
	case DW_ATE_signed:
	case DW_ATE_signed_char:
		return "signed";
	case DW_ATE_unsigned:
	case DW_ATE_unsigned_char:
	case DW_ATE_UTF:
		return "unsigned";
	case DW_ATE_boolean:
		return "boolean";
	case DW_ATE_float:
		return "float";
	case DW_ATE_complex_float:
		return "complex";
	default:
		return "of another encoding";
	}
}

/* The caller frees. */
static char *kb_kind(Dwarf_Debug dbg, Dwarf_Die type)
{
	char *name = kb_dwarf_name(dbg, type);
	long long encoding;

	switch (kb_dwarf_tag(type)) {
	case DW_TAG_base_type:
		return kb_format("%s", kb_dwarf_number(dbg, type, DW_AT_encoding, &encoding) ? kb_encoding(encoding)
											     : "of no encoding");
	case DW_TAG_enumeration_type: /* its values are compared by its name */
		return kb_format("%s", "enumeration");
	case DW_TAG_pointer_type:
	case DW_TAG_reference_type:
	case DW_TAG_rvalue_reference_type:
		return kb_format("%s", "pointer");
	case DW_TAG_ptr_to_member_type:
		return kb_format("%s", "pointer to a member");
	case DW_TAG_union_type:
		return kb_format("union %s", name ? name : "without a name");
	case DW_TAG_structure_type:
	case DW_TAG_class_type:
		return kb_format("struct %s", name ? name : "without a name");
	default:
		return kb_format("of DWARF's tag 0x%x", kb_dwarf_tag(type));
	}
}

char *kb_member_type(Dwarf_Debug dbg, Dwarf_Die member, Dwarf_Die *without_name)
{
	char *counts, *kind, *words;
	Dwarf_Die t = kb_element(dbg, member, &counts);
	long long size = -1;
	Dwarf_Half tag;

	*without_name = NULL;
	if (!t) {
		words = kb_format("%sa type that is not known", counts);
		free(counts);
		return words;
	}
	tag = kb_dwarf_tag(t);
	kind = kb_kind(dbg, t);
	if (kb_dwarf_number(dbg, t, DW_AT_byte_size, &size))
		words = kb_format("%s%s, %lld bytes", counts, kind, size);
	else
		words = kb_format("%s%s", counts, kind);
	free(kind);
	free(counts);
	if ((tag == DW_TAG_union_type || tag == DW_TAG_structure_type || tag == DW_TAG_class_type) &&
	    !kb_dwarf_name(dbg, t))
		*without_name = t;
	else
		dwarf_dealloc_die(t);
	return words;
}
