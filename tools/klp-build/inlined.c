/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which functions have a copy of one that the diffs change, because the compiler put it there, and are they in the
 * module? Nothing is decided by this: a caller is in the module if its code is another one. It is for who reviews a
 * change of a function that does not exist by itself.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drive.h"
#include "dwarf-unit.h"

#define KB_MAX_SCOPES 64 /* blocks and inlined functions within one another */

struct kb_inlined {
	struct kb_drive *d;
	const char *file;    /* of the unit that is looked at, within the tree */
	const json_t *lines; /* path within the tree: [[first, last]] of lines of the original that the diffs change */
	json_t *place;       /* of the unit: path within the tree: {number of a line: name}, where functions begin */
	char **files;        /* of the unit: its source files; the first has this number */
	Dwarf_Signed file_count, first_file;
	json_t *found; /* "function\npath": {function, file, into} */
};

/* "5,7d4", "6c6,7", "3a4": of lines that are put in, the one before. */
static void kb_add_lines(json_t *ranges, const char *text)
{
	for (const char *line = text; line && *line;) {
		const char *end = strchr(line, '\n');
		long first, last;
		char *at;

		if (*line >= '0' && *line <= '9') {
			first = last = strtol(line, &at, 10);
			if (*at == ',')
				last = strtol(at + 1, &at, 10);
			json_array_append_new(ranges, json_pack("[I,I]", (json_int_t)first, (json_int_t)last));
		}
		line = end ? end + 1 : NULL;
	}
}

static json_t *kb_changed_lines(const struct kb_run *r, const json_t *touched)
{
	char *log = kb_format("%s/differences", r->work);
	json_t *lines = json_object(), *yes;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)touched, name, yes)
	{
		char *was = kb_format("%s/%s", r->source, name), *is = kb_format("%s/%s", r->tree, name), *text;
		char *argv[] = {(char[]){"diff"}, (char[]){"-a"}, (char[]){"--"}, was, is, NULL};
		json_t *ranges = json_array();

		if (kb_run_quiet(argv, log) == 1) {
			text = kb_read(log, KB_MAX_RECORD, NULL);
			kb_add_lines(ranges, text);
			free(text);
		}
		json_object_set_new_nocheck(lines, name, ranges);
		free(was);
		free(is);
	}
	free(log);
	return lines;
}

/* Within the tree; NULL if it is outside. The caller frees. */
static char *kb_within(const struct kb_run *r, const char *path)
{
	char *full = kb_canonical(r->root, path), *within = NULL;

	if (full && kb_is_below(full, r->root) && strlen(full) > strlen(r->root))
		within = kb_format("%s", full + strlen(r->root) + 1);
	else if (full && kb_is_below(full, r->source) && strlen(full) > strlen(r->source))
		within = kb_format("%s", full + strlen(r->source) + 1);
	free(full);
	return within;
}

/* The entry's file, or NULL. */
static const char *kb_declared_in(const struct kb_inlined *in, Dwarf_Debug dbg, Dwarf_Die die)
{
	long long number;

	if (!kb_dwarf_number(dbg, die, DW_AT_decl_file, &number) || (number -= in->first_file) < 0 ||
	    number >= in->file_count)
		return NULL;
	return in->files[number];
}

/* The definition that an entry is a copy or an instance of: itself, if none. The caller gives it back unless it is
 * `die`. */
static Dwarf_Die kb_origin(Dwarf_Debug dbg, Dwarf_Die die)
{
	Dwarf_Die origin = kb_dwarf_entry(dbg, die, DW_AT_abstract_origin), before;

	if (!origin)
		return die;
	before = kb_dwarf_entry(dbg, origin, DW_AT_specification);
	if (before && !kb_dwarf_name(dbg, origin)) {
		dwarf_dealloc_die(origin);
		return before;
	}
	if (before)
		dwarf_dealloc_die(before);
	return origin;
}

static void kb_note_place(struct kb_inlined *in, Dwarf_Debug dbg, Dwarf_Die die)
{
	const char *name = kb_dwarf_name(dbg, die), *file = name ? kb_declared_in(in, dbg, die) : NULL;
	char number[24];
	long long line;
	json_t *list;

	if (file && kb_dwarf_number(dbg, die, DW_AT_decl_line, &line)) {
		list = json_object_get(in->place, file);
		if (!list) {
			list = json_object();
			json_object_set_new_nocheck(in->place, file, list);
		}
		snprintf(number, sizeof(number), "%lld", line);
		json_object_set_new_nocheck(list, number, json_string_nocheck(name));
	}
}

/* Do the diffs change a line of the function that begins there, up to where the next one does? */
static bool kb_is_changed(const struct kb_inlined *in, const char *file, long long line)
{
	long long next = -1, at;
	json_t *name, *range;
	const char *number;
	size_t i;

	json_object_foreach(json_object_get(in->place, file), number, name)
	{
		at = strtoll(number, NULL, 10);
		if (at > line && (next < 0 || at < next))
			next = at;
	}
	json_array_foreach(json_object_get(in->lines, file), i, range)
	{
		at = json_integer_value(json_array_get(range, 0));
		if (json_integer_value(json_array_get(range, 1)) >= line && (next < 0 || at < next))
			return true;
	}
	return false;
}

static void kb_note_inlined(struct kb_inlined *in, const char *name, const char *file, const char *into)
{
	char *key = kb_format("%s\n%s", name, file);
	json_t *entry = json_object_get(in->found, key), *list, *other;
	size_t i;

	if (!entry) {
		entry = json_pack("{s:s, s:s, s:[]}", "function", name, "file", file, "into");
		json_object_set_new_nocheck(in->found, key, entry);
	}
	list = json_object_get(entry, "into");
	free(key);
	json_array_foreach(list, i, other) if (!strcmp(kb_str(other, "function"), into) &&
					       !strcmp(kb_str(other, "file"), in->file)) return;
	json_array_append_new(list, json_pack("{s:s, s:s}", "function", into, "file", in->file));
}

/* What is inlined into `into`, at any depth. */
static void kb_inlined_in(struct kb_inlined *in, Dwarf_Debug dbg, Dwarf_Die scope, const char *into, int depth)
{
	for (Dwarf_Die die = kb_dwarf_next(dbg, scope, true), next; die; die = next) {
		Dwarf_Half tag = kb_dwarf_tag(die);

		if (tag == DW_TAG_inlined_subroutine) {
			Dwarf_Die origin = kb_origin(dbg, die);
			const char *name = kb_dwarf_name(dbg, origin), *file = kb_declared_in(in, dbg, origin);
			long long line;

			if (name && file && kb_dwarf_number(dbg, origin, DW_AT_decl_line, &line) &&
			    kb_is_changed(in, file, line))
				kb_note_inlined(in, name, file, into);
			if (origin != die)
				dwarf_dealloc_die(origin);
		}
		if (depth < KB_MAX_SCOPES && (tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block))
			kb_inlined_in(in, dbg, die, into, depth + 1);
		next = kb_dwarf_next(dbg, die, false);
		dwarf_dealloc_die(die);
	}
}

static void kb_each_function(struct kb_inlined *in, Dwarf_Debug dbg, Dwarf_Die cu,
			     void (*fn)(struct kb_inlined *in, Dwarf_Debug dbg, Dwarf_Die function))
{
	for (Dwarf_Die die = kb_dwarf_next(dbg, cu, true), next; die; die = next) {
		if (kb_dwarf_tag(die) == DW_TAG_subprogram)
			fn(in, dbg, die);
		next = kb_dwarf_next(dbg, die, false);
		dwarf_dealloc_die(die);
	}
}

static void kb_look_into(struct kb_inlined *in, Dwarf_Debug dbg, Dwarf_Die function)
{
	Dwarf_Die origin = kb_origin(dbg, function);
	const char *name = kb_dwarf_name(dbg, origin);
	Dwarf_Bool code = 0;
	Dwarf_Error error = NULL;

	if (dwarf_hasattr(function, DW_AT_low_pc, &code, &error) != DW_DLV_OK)
		code = 0;
	dwarf_dealloc_error(dbg, error);
	error = NULL;
	if (!code && dwarf_hasattr(function, DW_AT_ranges, &code, &error) != DW_DLV_OK)
		code = 0;
	dwarf_dealloc_error(dbg, error);
	if (code && name)
		kb_inlined_in(in, dbg, function, name, 0);
	if (origin != function)
		dwarf_dealloc_die(origin);
}

static void kb_look_at_unit(void *ctx, Dwarf_Debug dbg, Dwarf_Die cu)
{
	struct kb_inlined *in = ctx;
	Dwarf_Error error = NULL;
	Dwarf_Half version = 0, offset = 0;
	Dwarf_Signed count = 0;
	char **files;

	if (dwarf_get_version_of_die(cu, &version, &offset) == DW_DLV_OK &&
	    dwarf_srcfiles(cu, &files, &count, &error) == DW_DLV_OK) {
		in->first_file = version < 5; /* they are numbered from 1 before version 5 */
		in->file_count = count;
		in->files = kb_alloc((size_t)count * sizeof(*in->files));
		for (Dwarf_Signed i = 0; i < count; i++) {
			in->files[i] = kb_within(in->d->run, files[i]);
			dwarf_dealloc(dbg, files[i], DW_DLA_STRING);
		}
		dwarf_dealloc(dbg, files, DW_DLA_LIST);
		in->place = json_object();
		kb_each_function(in, dbg, cu, kb_note_place);
		kb_each_function(in, dbg, cu, kb_look_into);
		json_decref(in->place);
		while (count)
			free(in->files[--count]);
		free(in->files);
	}
	dwarf_dealloc_error(dbg, error);
}

/* Has the unit read a file that the diffs change? */
static bool kb_reads_changed(const struct kb_inlined *in, const json_t *unit)
{
	const json_t *deps = json_object_get(unit, "deps");
	json_t *ranges;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)in->lines, name, ranges)
	{
		char *path = kb_format("%s/%s", in->d->run->root, name);
		bool read = json_object_get(deps, path) != NULL;

		free(path);
		if (read)
			return true;
	}
	return false;
}

static bool kb_in_module(const json_t *changed, const char *function, const char *file)
{
	size_t i, n = strlen(function);
	json_t *e;

	json_array_foreach(changed, i, e)
	{
		const char *symbol = kb_str(e, "symbol");

		if (!strcmp(kb_str(e, "file"), file) && !strncmp(symbol, function, n) &&
		    (!symbol[n] || symbol[n] == '.'))
			return true;
	}
	return false;
}

json_t *kb_inlined(struct kb_drive *d, const json_t *changed)
{
	json_t *lines = kb_changed_lines(d->run, d->touched), *list = json_array(), *unit, *entry, *into;
	struct kb_inlined in = {.d = d, .lines = lines, .found = json_object()};
	const char *key;
	size_t i;

	json_object_foreach(d->t->original_units, key, unit)
	{
		in.file = kb_relative(d, kb_str(unit, "source"));
		if (kb_reads_changed(&in, unit))
			kb_dwarf_each_unit(kb_str(unit, "kept"), kb_look_at_unit, &in);
	}
	json_object_foreach(in.found, key, entry)
	{
		json_array_foreach(json_object_get(entry, "into"), i, into) json_object_set_new(
		    into, "in_module",
		    json_boolean(kb_in_module(changed, kb_str(into, "function"), kb_str(into, "file"))));
		json_array_append(list, entry);
	}
	json_decref(in.found);
	json_decref(lines);
	return list;
}
