/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which running file has a unit of a compilation database, and whether the database has all of its units: what the
 * record of a link says elsewhere is read here from debug information and symbols. In doubt it is refused.
 */
#include "drive.h"

#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "objdiff/objdiff.h"

/* {base name: true} of the sources that a file's symbols name. */
static json_t *kb_source_symbols(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf *elf = fd >= 0 ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
	json_t *names = json_object();
	Elf_Scn *scn = NULL;

	while (elf && (scn = elf_nextscn(elf, scn))) {
		GElf_Shdr sh;
		Elf_Data *data;

		if (!gelf_getshdr(scn, &sh) || sh.sh_type != SHT_SYMTAB || !sh.sh_entsize ||
		    !(data = elf_getdata(scn, NULL)))
			continue;
		for (size_t i = 0; i < data->d_size / sh.sh_entsize; i++) {
			GElf_Sym s;
			const char *name = gelf_getsym(data, (int)i, &s) && GELF_ST_TYPE(s.st_info) == STT_FILE
					       ? elf_strptr(elf, sh.sh_link, s.st_name)
					       : NULL;

			if (name && *name)
				json_object_set_new_nocheck(names, kb_base(name), json_true());
		}
	}
	elf_end(elf);
	if (fd >= 0)
		close(fd);
	return names;
}

static json_t *kb_sources_of_target(const struct kb_drive *d)
{
	char *debug = kb_debug_file(d->t->shipped, d->run->o->debug);
	json_t *names = kb_source_symbols(d->t->shipped), *more = debug ? kb_source_symbols(debug) : NULL;

	json_object_update(names, more);
	json_decref(more);
	free(debug);
	return names;
}

bool kb_runs(struct kb_drive *d, const char *source)
{
	bool runs = false;

	for (size_t i = 0; i < d->target_count && !runs; i++) {
		json_t *names;

		d->t = &d->target[i];
		names = kb_sources_of_target(d);
		runs = kb_producer_find(d->t->running, source) || json_object_get(names, kb_base(source));
		json_decref(names);
	}
	d->t = d->target;
	return runs;
}

/* The end of the path is a file of the tree or of the other copies. */
static const char *kb_within_copies(const struct kb_drive *d, const char *path)
{
	for (const char *p = path; p; p = strchr(p, '/')) {
		const char *place;
		json_t *copy;
		char *at;
		bool there;

		p += *p == '/';
		at = kb_format("%s/%s", d->run->tree, p);
		there = *p && !access(at, F_OK);
		free(at);
		json_object_foreach(d->run->places, place, copy)
		{
			at = kb_format("%s/%s", json_string_value(copy), p);
			there = there || (*p && !access(at, F_OK));
			free(at);
		}
		if (there)
			return p;
	}
	return NULL;
}

static bool kb_is_listed(const struct kb_drive *d, const char *path)
{
	size_t i, n = strlen(path);
	json_t *unit;

	json_array_foreach(d->listed, i, unit)
	{
		const char *source = kb_str(unit, "source");
		size_t length = strlen(source);

		if (length >= n && !strcmp(source + length - n, path) && (length == n || source[length - n - 1] == '/'))
			return true;
	}
	return false;
}

bool kb_check_coverage(struct kb_drive *d)
{
	json_t *unit, *names, *yes;
	const char *name;
	bool ok = true;
	size_t i;

	json_array_foreach(d->t->running, i, unit)
	{
		const char *path = kb_str(unit, "path"), *own = kb_within_copies(d, path);

		if (kb_ends_with(path, "<artificial>")) {
			kb_refuse(d, "", d->t->name, "the running file was made with link-time optimisation",
				  "build with -fno-lto");
			ok = false;
		} else if (own && !kb_is_listed(d, own)) {
			kb_refuse(d, "", own,
				  "is a unit of the running file, and the compilation database does not have it",
				  "make the database of the whole build, or use a build command that links (-b, -t)");
			ok = false;
		}
	}
	if (json_array_size(d->t->running))
		return ok;
	names = kb_sources_of_target(d);
	if (!json_object_size(names)) {
		kb_refuse(d, "", d->t->name, "neither debug information nor symbols of the running file name its units",
			  "give the debug file of what runs (--debug)");
		ok = false;
	}
	json_object_foreach(names, name, yes)
	{
		if (!kb_is_source(name) || !strcmp(name, "crtstuff.c") || kb_is_listed(d, name))
			continue;
		kb_refuse(d, "", name,
			  "is a unit of the running file by its symbols, and the compilation database does not have it",
			  "give the debug file of what runs (--debug), which says where its units are from, or use a "
			  "build command that links (-b, -t)");
		ok = false;
	}
	json_decref(names);
	return ok;
}

static bool kb_is_end(const char *path, const char *end)
{
	size_t length = strlen(path), n = strlen(end);

	return length >= n && !strcmp(path + length - n, end) &&
	       (length == n || *end == '/' || path[length - n - 1] == '/');
}

/* The running file's debug information has it: lib/a.c is not a.c if the database has both. */
static bool kb_is_described(const struct kb_drive *d, const char *source)
{
	size_t i, k, n = strlen(source);
	json_t *unit, *entry;

	json_array_foreach(d->t->running, i, unit)
	{
		const char *path = kb_str(unit, "path");
		bool better = false;

		if (!kb_is_end(path, source))
			continue;
		json_array_foreach(d->listed, k, entry)
		{
			const char *other = kb_relative(d, kb_str(entry, "source"));

			better = better || (strlen(other) > n && kb_is_end(path, other));
		}
		if (!better)
			return true;
	}
	return false;
}

/* Is it the only source of the database with that file name? */
static bool kb_is_single(const struct kb_drive *d, const char *source)
{
	json_t *entry;
	size_t i;

	json_array_foreach(d->listed, i, entry)
	{
		const char *other = kb_relative(d, kb_str(entry, "source"));

		if (strcmp(other, source) && !strcmp(kb_base(other), kb_base(source)))
			return false;
	}
	return true;
}

/*
 * Is the unit a part of the target? Its debug information says so if the unit is compiled with it, else its symbols,
 * which know no directories. false in *told: they do not say which of several they mean.
 */
static bool kb_is_part(const struct kb_drive *d, const json_t *record, const json_t *names, bool *told)
{
	const char *source = kb_relative(d, kb_str(record, "source"));
	json_t *own = json_array_size(d->t->running) ? kb_producers(kb_str(record, "kept")) : NULL;
	bool described = json_array_size(own) > 0, named = json_object_get(names, kb_base(source));

	json_decref(own);
	*told = described || !named || kb_is_single(d, source);
	return described ? kb_is_described(d, source) : named;
}

static bool kb_same_source(const json_t *a, const json_t *b)
{
	return a != b && !strcmp(kb_str(a, "source"), kb_str(b, "source"));
}

/* What a module would be made of is the same. */
static bool kb_same_object(const json_t *a, const json_t *b)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *differences = NULL;
	int rc =
	    a && b ? klp_objdiff_compare(kb_str(a, "kept"), kb_str(b, "kept"), &differences, &e) : KLP_OBJDIFF_REFUSED;

	json_decref(differences);
	return rc == KLP_OBJDIFF_NO_CHANGE;
}

static void kb_drop_unit(struct kb_drive *d, json_t *units, const char *key)
{
	json_object_del(d->t->patched_units, key);
	json_object_del(units, key);
}

/*
 * Of several objects that one source was compiled to (for a library and a program, with and without -fPIC) the target
 * has the one that it fits. If it fits none, what differs is said of the last one. false: refused.
 */
static bool kb_choose(struct kb_drive *d)
{
	char *debug = kb_debug_file(d->t->shipped, d->run->o->debug);
	json_t *units = d->t->original_units, *patched = d->t->patched_units, *all = json_array(), *unit, *other;
	const char *key;
	bool ok = true;
	size_t i, k;

	json_object_foreach(units, key, unit) json_array_append(all, unit);
	json_array_foreach(all, i, unit)
	{
		struct klp_error e = KLP_ERROR_INIT;
		bool drop = false, several = false;

		key = kb_str(unit, "key");
		json_object_foreach(units, key, other) several |= kb_same_source(unit, other);
		key = kb_str(unit, "key");
		drop = several && klp_objdiff_misfits(kb_str(unit, "kept"), d->t->shipped, debug, &e);
		for (k = 0; k < i && !drop; k++) {
			other = json_array_get(all, k);
			if (!kb_same_source(unit, other) || !json_object_get(units, kb_str(other, "key")))
				continue;
			drop = kb_same_object(unit, other) &&
			       kb_same_object(json_object_get(patched, key),
					      json_object_get(patched, kb_str(other, "key")));
			if (drop)
				break;
			kb_refuse(d, "", kb_relative(d, kb_str(unit, "source")),
				  "several entries of the compilation database compile it, and it cannot be told which "
				  "object the running file has",
				  "leave the entries out that are of other programs");
			ok = false;
		}
		if (drop)
			kb_drop_unit(d, units, key);
	}
	json_decref(all);
	free(debug);
	return ok;
}

/* A touched unit that no running file has: of another program, or none. */
static void kb_look_at_stranger(struct kb_drive *d, const json_t *a, const json_t *b)
{
	const char *file = kb_relative(d, kb_str(a ? a : b, "source"));
	struct klp_error e = KLP_ERROR_INIT;
	json_t *differences = NULL;
	int rc =
	    a && b ? klp_objdiff_compare(kb_str(a, "kept"), kb_str(b, "kept"), &differences, &e) : KLP_OBJDIFF_REFUSED;

	json_decref(differences);
	if (rc == KLP_OBJDIFF_NO_CHANGE)
		json_array_append_new(
		    d->run->notes, json_sprintf("%s reads what the diffs change, and is in none of the running files; "
						"its code stays the same",
						file));
	else
		kb_refuse(d, "", file, "the diffs change it, and it is in none of the running files",
			  "give the file that it is part of (--running), or leave its entry out of the database if it "
			  "is no part of what is patched");
}

bool kb_share_out(struct kb_drive *d, json_t *original, json_t *patched)
{
	json_t *taken = json_object(), *unit;
	const char *key;
	bool ok = true;

	for (size_t i = 0; i < d->target_count; i++) {
		json_t *names;

		d->t = &d->target[i];
		d->t->original_units = json_object();
		d->t->patched_units = json_object();
		names = kb_sources_of_target(d);
		json_object_foreach(original, key, unit)
		{
			bool told, part = kb_is_part(d, unit, names, &told);

			if (!told)
				kb_refuse(d, "", kb_relative(d, kb_str(unit, "source")),
					  "other units of the compilation database have the same file name, and it "
					  "cannot be told which of them the running file has",
					  "give the debug file of what runs (--debug)");
			if (!part)
				continue;
			json_object_set_new(taken, key, json_true());
			json_object_set(d->t->original_units, key, unit);
			if (json_object_get(patched, key))
				json_object_set(d->t->patched_units, key, json_object_get(patched, key));
		}
		json_decref(names);
		ok = kb_choose(d) && ok;
		ok = kb_check_compilers(d) && ok;
	}
	d->t = d->target;
	json_object_foreach(original, key, unit) if (!json_object_get(taken, key))
	    kb_look_at_stranger(d, unit, json_object_get(patched, key));
	json_object_foreach(patched, key, unit) if (!json_object_get(original, key)) kb_look_at_stranger(d, NULL, unit);
	json_decref(taken);
	return ok && !json_array_size(json_object_get(d->report, "refused"));
}
