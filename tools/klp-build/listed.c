/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run with a compilation database in the place of a build command. All units' dependencies are asked for; those
 * that read a file that the diffs touch are compiled, before and after the diffs, and nothing is linked (invariants B2
 * and B3: objdiff compares their objects with the running files themselves). What only a build would show is refused:
 * sources that the database does not have, files that something else than a compiler reads, units that are nobody's.
 */
#include "compdb.h"
#include "drive.h"
#include "numbered.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char kb_with_build[] = "use a build command that links (-b, -t)";

/* Directories of the units outside of the tree are copied beside it. */
static bool kb_add_place(struct kb_run *r, const char *directory)
{
	char *real = realpath(directory, NULL);
	const char *place;
	json_t *copy;
	void *next;
	bool ok = false;

	/* Left over from another time. If its unit has to be compiled, that is refused. */
	if (!real)
		return true;
	if (kb_is_below(real, r->source))
		ok = true;
	else if (kb_is_below(r->source, real) || kb_is_below(r->work, real) || kb_is_below("/usr", real) ||
		 kb_is_below("/etc", real) || kb_is_below("/proc", real))
		kb_error("%s: the directory %s is above the source tree or a place of the system; give the tree that "
			 "it is in with -s",
			 r->o->database, real);
	else
		ok = true;
	if (!ok || kb_is_below(real, r->source)) {
		free(real);
		return ok;
	}
	json_object_foreach_safe(r->places, next, place, copy)
	{
		if (kb_is_below(real, place)) {
			free(real);
			return true;
		}
		if (kb_is_below(place, real))
			json_object_del(r->places, place);
	}
	if (json_object_size(r->places) >= KB_MAX_PLACES) {
		kb_error("%s: more than %u directories outside of the source tree", r->o->database, KB_MAX_PLACES);
		ok = false;
	} else {
		json_object_set_new(r->places, real, json_null());
	}
	free(real);
	return ok;
}

bool kb_read_database(struct kb_drive *d)
{
	struct kb_run *r = d->run;
	const char *place;
	size_t i, n = 0;
	json_t *unit, *copy;
	void *next;

	d->listed = kb_compdb_read(r->o->database);
	if (!d->listed)
		return false;
	r->places = json_object();
	json_array_foreach(d->listed, i, unit) if (!kb_add_place(r, kb_str(unit, "directory"))) return false;
	json_object_foreach_safe(r->places, next, place, copy)
	{
		char *to = kb_format("%s/place-%zu", r->work, n++);

		json_object_set_new(r->places, place, json_string(to));
		free(to);
	}
	return true;
}

static char *kb_key(const json_t *unit)
{
	return kb_format("%s\n%s", kb_str(unit, "output"), kb_str(unit, "source"));
}

/* Sets "deps" of each unit to what it reads; without it nobody knows. */
static bool kb_ask_dependencies(struct kb_drive *d)
{
	struct kb_run *r = d->run;
	json_t *unit;
	size_t i;
	bool ok;

	r->jobs = json_array();
	json_array_foreach(d->listed, i, unit)
	{
		char *file = kb_format("%s/deps-%zu", r->work, i);

		if (!json_object_get(unit, "deps"))
			json_object_set_new(unit, "deps", json_pack("[s]", "false"));
		json_array_append_new(r->jobs,
				      json_pack("{s:O, s:O, s:O, s:s}", "directory", json_object_get(unit, "directory"),
						"source", json_object_get(unit, "source"), "argv",
						json_object_get(unit, "deps"), "deps", file));
		free(file);
	}
	ok = !kb_build(r, "asking what each unit reads");
	json_array_foreach(d->listed, i, unit)
	{
		const char *file = kb_str(json_array_get(r->jobs, i), "deps");
		json_t *deps = json_load_file(file, 0, NULL);

		json_object_set_new(unit, "deps", deps ? deps : json_null());
	}
	json_decref(r->jobs);
	r->jobs = NULL;
	return ok;
}

/* The files that the diff takes away or renames are touched, too. */
static void kb_note_removed(struct kb_drive *d, const char *diff)
{
	static const char *const lines[] = {"--- ", "rename from ", "copy from "};
	char *text = kb_read(diff, KB_MAX_RECORD, NULL);

	for (char *line = text, *end; line && *line; line = end ? end + 1 : NULL) {
		end = strchr(line, '\n');
		for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
			size_t skip = strlen(lines[i]);
			char *name;

			if (strncmp(line, lines[i], skip))
				continue;
			name = kb_format("%.*s", (int)strcspn(line + skip, "\t\r\n"), line + skip);
			for (const char *file = name; file; file = strchr(file, '/'), file += file ? 1 : 0) {
				char *at = kb_format("%s/%s", d->run->tree, file);
				bool there = *file && *file != '/' && !access(at, F_OK);

				free(at);
				if (there) {
					json_object_set_new_nocheck(d->touched, file, json_true());
					break;
				}
			}
			free(name);
		}
	}
	free(text);
}

static bool kb_reads_touched(const struct kb_drive *d, const json_t *unit)
{
	const json_t *deps = json_object_get(unit, "deps");
	const char *path;
	json_t *sha;

	if (!json_is_object(deps))
		return true;
	json_object_foreach((json_t *)(uintptr_t)deps, path, sha)
	{
		if (json_object_get(d->touched, kb_relative(d, path)) || json_object_get(d->added, kb_base(path)))
			return true;
	}
	return json_object_get(d->touched, kb_relative(d, kb_str(unit, "source"))) != NULL;
}

static bool kb_is_foreign(const struct kb_drive *d, const char *source)
{
	const char *place;
	json_t *copy;

	json_object_foreach(d->run->places, place, copy) if (kb_is_below(source, place)) return false;
	return !kb_is_below(source, d->run->root);
}

/* Can they be compiled? A source that is not there belongs to no target, or has to be generated first. */
static bool kb_check_entries(struct kb_drive *d, const json_t *touched)
{
	json_t *unit;
	bool ok = true;
	size_t i;

	json_array_foreach(touched, i, unit)
	{
		const char *why = json_string_value(json_object_get(unit, "why")), *source = kb_str(unit, "source");
		char *file = kb_tree_path(d->run, source), *text;

		if (!why && access(file, F_OK) && kb_runs(d, kb_relative(d, source)))
			why = "its source does not exist (is it generated?)";
		if (!why && !access(file, F_OK) && access(kb_str(unit, "directory"), F_OK))
			why = "its directory does not exist";
		free(file);
		/* What configuring tried out (CMakeCCompilerABI.c) is left in a database that was recorded. */
		if (why && kb_is_foreign(d, source) && !kb_runs(d, source)) {
			json_object_set_new(unit, "skip", json_true());
			json_array_append_new(
			    d->run->notes,
			    json_sprintf("%s is of no tree and in none of the running files: %s", source, why));
			continue;
		}
		if (!why)
			continue;
		text = kb_format("entry %lld of the compilation database: %s, and the diffs touch what it reads, or "
				 "nobody knows what that is",
				 (long long)json_integer_value(json_object_get(unit, "entry")), why);
		kb_refuse(d, "", kb_relative(d, source), text,
			  "make the database by the build of what runs, with all that it generates, or use a build "
			  "command that links (-b, -t)");
		free(text);
		ok = false;
	}
	return ok;
}

/* Compiles the units; {key: record} of them in *units. A unit whose source is gone has none. */
static int kb_compile(struct kb_drive *d, const json_t *touched, const char *what, json_t **units)
{
	struct kb_run *r = d->run;
	long long before = d->records.seq;
	int rc = KB_BUILT;
	json_t *unit;
	size_t i;

	*units = json_object();
	r->jobs = json_array();
	json_array_foreach(touched, i, unit)
	{
		char *file = kb_tree_path(r, kb_str(unit, "source"));

		if (!access(file, F_OK) && !json_object_get(unit, "skip"))
			json_array_append(r->jobs, unit);
		free(file);
	}
	/* "deps" of a job is the name of a file. */
	json_array_foreach(r->jobs, i, unit)
	{
		json_t *job = json_copy(unit);

		json_object_del(job, "deps");
		json_array_set_new(r->jobs, i, job);
	}
	if (kb_build(r, what))
		rc = kb_build_ended(d);
	kb_records_load(&d->records, r->log);
	json_array_foreach(r->jobs, i, unit)
	{
		char *key = kb_key(unit);
		json_t *made = rc ? NULL : kb_record_latest(&d->records, key, d->records.seq);

		if (made && json_integer_value(json_object_get(made, "seq")) > before) {
			json_object_set(*units, key, made);
		} else if (!rc) {
			kb_error("%s: the command of %s made no object that klp-build has seen: %s", r->o->database,
				 kb_str(unit, "source"), kb_str(unit, "output"));
			rc = KB_FAILED;
		}
		if (made && json_is_true(json_object_get(made, "lto"))) {
			kb_refuse(d, "", kb_relative(d, kb_str(unit, "source")),
				  "was compiled for link-time optimisation", "build with -fno-lto");
			rc = KB_REFUSED;
		}
		free(key);
	}
	json_decref(r->jobs);
	r->jobs = NULL;
	return rc;
}

/* Documents: no build makes anything of them that runs. */
static bool kb_is_document(const char *path)
{
	static const char *const ends[] = {".md", ".rst", ".po", ".html", ".tex", ".texi", ".pod", ".1",
					   ".2",  ".3",   ".4",  ".5",    ".6",   ".7",    ".8"};
	static const char *const names[] = {"ChangeLog", "CHANGES", "NEWS",    "README", "AUTHORS",
					    "THANKS",    "COPYING", "LICENSE", "TODO",   "Changes"};

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (kb_ends_with(path, ends[i]))
			return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(kb_base(path), names[i]))
			return true;
	return false;
}

static bool kb_is_header(const char *path)
{
	static const char *const ends[] = {".h", ".hh", ".hpp", ".hxx", ".H"};

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (kb_ends_with(path, ends[i]))
			return true;
	return false;
}

/* What the diffs change or create, and no unit of the database reads: a build might make something of it. */
static bool kb_check_unread(struct kb_drive *d, const json_t *patched)
{
	json_t *unread = json_deep_copy(d->touched), *unit, *value;
	const char *key, *path;
	bool ok = true;
	size_t i;

	json_array_foreach(d->listed, i, unit) json_object_foreach(json_object_get(unit, "deps"), path, value)
	    json_object_del(unread, kb_relative(d, path));
	json_object_foreach((json_t *)(uintptr_t)patched, key, unit)
	    json_object_foreach(json_object_get(unit, "deps"), path, value)
	{
		json_object_del(unread, kb_relative(d, path));
		json_object_del(d->added, kb_base(path));
	}
	/* Of new files the names are known without their directories. */
	json_object_foreach(d->added, key, value) if (strcmp(key, "null")) json_object_set(unread, key, value);
	json_object_foreach(unread, key, value)
	{
		if (kb_is_document(key) || kb_is_header(key)) {
			json_array_append_new(d->run->notes,
					      json_sprintf("%s is changed by the diffs, and no unit of %s reads it",
							   key, d->run->o->database));
			continue;
		}
		ok = false;
		kb_refuse(d, "", key,
			  kb_is_source(key) ? "is changed by the diffs, and no entry of the compilation database "
					      "compiles it"
					    : "is changed by the diffs, no compiler reads it, and without a build it "
					      "cannot be told what is made of it",
			  kb_is_source(key) ? "make the database anew for the patched tree, or leave the file out of "
					      "the diff if it is no part of what runs"
					    : "leave it out of the diff if it is no part of what runs, else use a "
					      "build command that links (-b, -t)");
	}
	json_decref(unread);
	return ok;
}

/* The diffs changed what they were foreseen to, and nothing that another unit reads. */
static bool kb_check_foreseen(struct kb_drive *d)
{
	json_t *cache = json_object(), *unit;
	bool ok = true;
	size_t i;

	json_array_foreach(d->listed, i, unit)
	{
		if (json_object_get(unit, "touched") || !kb_is_stale(d, unit, cache))
			continue;
		kb_refuse(d, "", kb_relative(d, kb_str(unit, "source")),
			  "the diffs change what it reads in a way that their headers do not say", kb_with_build);
		ok = false;
	}
	json_decref(cache);
	return ok;
}

int kb_build_listed(struct kb_drive *d)
{
	struct kb_run *r = d->run;
	json_t *touched = json_array(), *original = NULL, *patched = NULL, *unit;
	bool covered = true;
	size_t i;
	int rc;

	if (r->place == KB_PLACE_COPY) {
		kb_error("this system permits no private mounts: the paths of a compilation database would lead to the "
			 "tree itself; use a build command (-b)");
		return KB_FAILED;
	}
	kb_drop_precompiled(r);
	for (i = 0; i < d->target_count; i++) {
		d->t = &d->target[i];
		covered = kb_check_coverage(d) && covered;
	}
	d->t = d->target;
	if (!covered)
		return KB_REFUSED;
	if (!kb_ask_dependencies(d))
		return KB_FAILED;
	for (i = 0; i < r->o->diff_count; i++) {
		kb_note_touched(d, r->o->diffs[i]);
		kb_note_removed(d, r->o->diffs[i]);
	}
	json_array_foreach(d->listed, i, unit)
	{
		if (!kb_reads_touched(d, unit))
			continue;
		json_object_set_new(unit, "touched", json_true());
		json_array_append(touched, unit);
	}
	json_object_set_new(d->facts, "listed", json_integer((json_int_t)json_array_size(d->listed)));
	rc = kb_check_entries(d, touched) ? kb_compile(d, touched, "compiling the original units", &original)
					  : KB_REFUSED;
	d->original_seq = d->records.seq;
	for (i = 0; !rc && i < r->o->diff_count; i++)
		if (!kb_apply(r, r->o->diffs[i]))
			rc = KB_FAILED;
	if (!rc) {
		kb_number_files(r, d->touched);
		rc = kb_compile(d, touched, "compiling the patched units", &patched);
	}
	if (!rc) {
		bool read = kb_check_unread(d, patched), foreseen = kb_check_foreseen(d);

		rc = kb_share_out(d, original, patched) && read && foreseen ? KB_BUILT : KB_REFUSED;
	}
	json_decref(touched);
	json_decref(original);
	json_decref(patched);
	return rc ? rc : kb_conclude(d);
}
