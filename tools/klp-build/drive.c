/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run: build the original, apply the diffs, build again until nothing is stale (invariant B3), let objdiff compare.
 *
 * Stale is a unit whose recorded inputs have another content now, or whose inputs nobody knows. make's opinion does not
 * count.
 */
#include "klp-build.h"

#include <elf.h>
#include <errno.h>
#include <gelf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "drive.h"
#include "numbered.h"
#include "klp/include/klp/klp.h"
#include "objdiff/objdiff.h"

const char *kb_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static long long kb_seq(const json_t *o)
{
	return json_integer_value(json_object_get(o, "seq"));
}

const char *kb_relative(const struct kb_drive *d, const char *path)
{
	return kb_is_below(path, d->run->root) && strlen(path) > strlen(d->run->root) ? path + strlen(d->run->root) + 1
										      : path;
}

void kb_refuse(struct kb_drive *d, const char *symbol, const char *file, const char *reason, const char *advice)
{
	json_t *list = json_object_get(d->report, "refused");

	if (!list) {
		list = json_array();
		json_object_set_new(d->report, "refused", list);
	}
	json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "symbol", symbol, "section", "", "file",
					      file, "reason", reason, "advice", advice));
	if (d->target_count > 1)
		json_object_set_new(json_array_get(list, json_array_size(list) - 1), "target", json_string(d->t->name));
}

/* The link that made the target: by name, else by content (install, cp, libtool's .libs). */
static const json_t *kb_target_link(struct kb_drive *d, long long after, long long before)
{
	const struct kb_run *r = d->run;
	char *path = kb_format("%s/%s", r->root, d->t->name), *file = kb_tree_path(r, path), *libs, sha[KB_SHA];
	const char *slash;
	json_t *link = NULL;

	if (kb_file_kind(file) == ET_EXEC || kb_file_kind(file) == ET_DYN) {
		if (kb_digest_file(file, sha))
			link = kb_link_find(&d->records, NULL, sha, before);
		if (!link)
			link = kb_link_find(&d->records, path, NULL, before);
	}
	if (!link) {
		slash = strrchr(path, '/');
		libs = kb_format("%.*s/.libs/%s", (int)(slash - path), path, slash + 1);
		link = kb_link_find(&d->records, libs, NULL, before);
		free(libs);
	}
	free(path);
	free(file);
	return link && kb_seq(link) > after ? link : NULL;
}

void kb_add_symbols(const char *path, json_t *names)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf *elf = fd >= 0 ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
	Elf_Scn *scn = NULL;

	while (elf && (scn = elf_nextscn(elf, scn))) {
		GElf_Shdr sh;
		Elf_Data *data;

		if (!gelf_getshdr(scn, &sh) || sh.sh_type != SHT_SYMTAB || !sh.sh_entsize ||
		    !(data = elf_getdata(scn, NULL)))
			continue;
		for (size_t i = 0; i < data->d_size / sh.sh_entsize; i++) {
			GElf_Sym s;
			const char *name;

			/* Hidden symbols are local in the linked file. */
			if (gelf_getsym(data, (int)i, &s) && s.st_shndx != SHN_UNDEF &&
			    GELF_ST_TYPE(s.st_info) <= STT_FUNC && (name = elf_strptr(elf, sh.sh_link, s.st_name)) &&
			    *name && *name != '.')
				json_object_set_new_nocheck(names, name, json_integer(GELF_ST_BIND(s.st_info)));
		}
	}
	elf_end(elf);
	if (fd >= 0)
		close(fd);
}

/* An archive is offered to the linker, which takes only some members: those of which a global symbol is in the linked
 * file. */
static void kb_drop_untaken(json_t *units, const char *linked)
{
	json_t *have = json_object(), *unit, *bind;
	const char *key, *name;
	void *next;

	kb_add_symbols(linked, have);
	json_object_foreach_safe(units, next, key, unit)
	{
		json_t *own;
		bool any = false, taken = false;

		if (!json_is_true(json_object_get(unit, "member")))
			continue;
		own = json_object();
		kb_add_symbols(kb_str(unit, "kept"), own);
		json_object_foreach(own, name, bind)
		{
			if (json_integer_value(bind) == STB_LOCAL)
				continue;
			any = true;
			taken |= json_object_get(have, name) != NULL;
		}
		if (any && !taken)
			json_object_del(units, key);
		json_decref(own);
	}
	json_decref(have);
}

/* true if all that the link consists of is known and usable. */
static bool kb_units_of(struct kb_drive *d, const json_t *link, long long before, json_t **units)
{
	json_t *missing = json_array(), *unit;
	const char *key;
	bool ok = true;
	size_t i;

	*units = json_object();
	kb_link_units(&d->records, link, before, d->run->root, *units, missing);
	json_array_foreach(missing, i, unit)
	{
		const char *why = kb_str(unit, "why");

		if (*why)
			kb_refuse(d, "", kb_str(unit, "file"), why, "compile it with -c and link the object");
		else
			kb_refuse(d, "", kb_str(unit, "file"),
				  "is linked into the target, but klp-build did not see how it was made",
				  "build it with the build command by a compiler that is found in the PATH (--cc-dir "
				  "adds a directory), and do not change it between compilation and link");
		ok = false;
	}
	json_decref(missing);
	kb_drop_untaken(*units, kb_str(link, "kept"));
	json_object_foreach(*units, key, unit) if (json_is_true(json_object_get(unit, "lto")))
	{
		kb_refuse(d, "", kb_relative(d, kb_str(unit, "source")), "was compiled for link-time optimisation",
			  "build with -fno-lto");
		ok = false;
	}
	if (ok && !json_object_size(*units)) {
		kb_refuse(d, "", d->t->name, "klp-build saw none of its compilations",
			  "the build command must compile the program, by a compiler that is found in the PATH");
		ok = false;
	}
	return ok;
}

/* Says what patch says, and returns false if it does not apply. */
static bool kb_apply_level(struct kb_run *r, const char *diff, int level, bool dry, char **text)
{
	char *log = kb_format("%s/patch.log", r->work), *strip = kb_format("-p%d", level),
	     *input = kb_canonical(".", diff);
	char *argv[] = {(char[]){"patch"},
			strip,
			(char[]){"-f"},
			(char[]){"--no-backup-if-mismatch"},
			(char[]){"-d"},
			r->tree,
			(char[]){"-r"},
			(char[]){"-"},
			(char[]){"-i"},
			input,
			dry ? (char[]){"--dry-run"} : NULL,
			NULL};
	int status = kb_run_quiet(argv, log);

	free(*text);
	*text = kb_read(log, KB_MAX_RECORD, NULL);
	free(log);
	free(strip);
	free(input);
	return !status;
}

bool kb_apply(struct kb_run *r, const char *diff)
{
	int first = r->o->strip >= 0 ? r->o->strip : 1, last = r->o->strip >= 0 ? first : 0;
	char *text = NULL, *reported = NULL;

	for (int level = first; level >= last; level--) {
		if (!kb_apply_level(r, diff, level, true, &text)) {
			if (!reported) {
				reported = text;
				text = NULL;
			}
			continue;
		}
		free(reported);
		if (!kb_apply_level(r, diff, level, false, &text)) {
			kb_error("%s: %s", diff, text ? text : "patch failed");
			free(text);
			return false;
		}
		if (text && (strstr(text, "with fuzz") || strstr(text, "offset")))
			json_array_append_new(r->notes,
					      json_sprintf("%s applies with an offset or fuzz: %s", diff, text));
		free(text);
		return true;
	}
	fputs(reported ? reported : "", stderr);
	kb_error("%s does not apply to %s", diff, r->o->source);
	free(reported);
	free(text);
	return false;
}

/*
 * The files that the diffs change, and those that they create: a new header can be found before an old one, and no list
 * of what was read tells.
 */
void kb_note_touched(struct kb_drive *d, const char *diff)
{
	char *text = kb_read(diff, KB_MAX_RECORD, NULL);

	for (char *line = text; line && *line;) {
		char *end = strchr(line, '\n');

		if (!strncmp(line, "+++ ", 4)) {
			size_t n = strcspn(line + 4, "\t\r\n");
			char *name = kb_format("%.*s", (int)n, line + 4), *file = name;

			for (;;) {
				char *at = kb_format("%s/%s", d->run->tree, file);
				struct stat st;
				bool there = !lstat(at, &st);

				free(at);
				if (there) {
					json_object_set_new_nocheck(d->touched, file, json_true());
					break;
				}
				file = strchr(file, '/');
				if (!file) {
					json_object_set_new(d->added, kb_base(name), json_true());
					break;
				}
				file++;
			}
			free(name);
		}
		line = end ? end + 1 : NULL;
	}
	free(text);
}

static const char *kb_content(const struct kb_drive *d, json_t *cache, const char *path)
{
	const char *known = json_string_value(json_object_get(cache, path));
	char sha[KB_SHA], *file;

	if (known)
		return known;
	file = kb_tree_path(d->run, path);
	if (!kb_digest_file(file, sha))
		sha[0] = 0;
	free(file);
	json_object_set_new(cache, path, json_string(sha));
	return json_string_value(json_object_get(cache, path));
}

bool kb_is_stale(const struct kb_drive *d, const json_t *unit, json_t *cache)
{
	json_t *deps = json_object_get(unit, "deps"), *was;
	bool old = kb_seq(unit) <= d->original_seq;
	const char *path;

	if (!json_is_object(deps))
		return old;
	json_object_foreach(deps, path, was)
	{
		if (strcmp(kb_content(d, cache, path), json_string_value(was)))
			return true;
		if (old && json_object_get(d->added, kb_base(path)))
			return true;
	}
	return false;
}

/* Is what it is made from another one now? Also if that was made, by another command, from what is another one now. */
static bool kb_is_outdated(const struct kb_drive *d, const json_t *unit, json_t *cache)
{
	const char *path;
	json_t *was;

	if (kb_is_stale(d, unit, cache))
		return true;
	json_object_foreach(json_object_get(unit, "deps"), path, was)
	{
		const json_t *text = kb_record_text(&d->records, path);

		if (text && kb_is_stale(d, text, cache))
			return true;
	}
	return false;
}

#define KB_ASIDE ".klp-aside"

static void kb_unlink_tree(const struct kb_drive *d, const char *path)
{
	char *file = kb_tree_path(d->run, path);

	if (kb_is_below(file, d->run->tree) && unlink(file) && errno != ENOENT)
		kb_error("%s: %s", file, strerror(errno));
	free(file);
}

static bool kb_is_piped(const json_t *unit)
{
	return json_is_true(json_object_get(unit, "piped"));
}

/* Makes sure that the build command compiles the unit again. */
static void kb_force(const struct kb_drive *d, const json_t *unit, int pass)
{
	const char *output = kb_str(unit, "output"), *base = kb_base(output), *dot = strrchr(base, '.');
	size_t dir = (size_t)(base - output), stem = dot ? (size_t)(dot - base) : strlen(base);
	char *path;

	if (!kb_is_piped(unit))
		kb_unlink_tree(d, output);
	path = kb_format("%.*s%.*s.lo", (int)dir, output, (int)stem, base);
	kb_unlink_tree(d, path);
	free(path);
	if (dir > 7 && !strncmp(output + dir - 7, "/.libs/", 7)) {
		path = kb_format("%.*s/%.*s.lo", (int)(dir - 7), output, (int)stem, base);
		kb_unlink_tree(d, path);
		free(path);
	}
	/* Some rules keep no object file (members of an archive): then only the source's time helps. */
	if (pass > 1) {
		path = kb_tree_path(d->run, kb_str(unit, "source"));
		if (kb_is_below(path, d->run->tree))
			utimensat(AT_FDCWD, path, NULL, 0);
		free(path);
	}
}

static bool kb_is_there(const struct kb_drive *d, const char *path)
{
	char *file = kb_tree_path(d->run, path);
	bool there = !access(file, F_OK);

	free(file);
	return there;
}

static bool kb_is_of_target(const struct kb_drive *d, const char *key)
{
	for (size_t i = 0; i < d->target_count; i++)
		if (json_object_get(d->target[i].original_units, key))
			return true;
	return false;
}

/* All units of the build that are stale and matter: the target's, and those whose object is still there (generators,
 * libraries). */
static size_t kb_force_stale(struct kb_drive *d, int pass)
{
	json_t *cache = json_object(), *latest = json_object(), *unit;
	const char *key;
	size_t i, stale = 0;

	json_array_foreach(d->records.compiles, i, unit) json_object_set(latest, kb_str(unit, "key"), unit);
	json_object_foreach(latest, key, unit)
	{
		if (!kb_is_of_target(d, key) && !kb_is_piped(unit) && !kb_is_there(d, kb_str(unit, "output")))
			continue;
		/* A source that the patch or the build removed cannot be compiled. */
		if (!kb_is_there(d, kb_str(unit, "source")) || !kb_is_outdated(d, unit, cache))
			continue;
		stale++;
		kb_force(d, unit, pass);
	}
	json_decref(cache);
	json_decref(latest);
	return stale;
}

static int kb_build_patched(struct kb_drive *d)
{
	size_t stale = 0;

	for (int pass = 1; pass <= KB_MAX_PASSES; pass++) {
		stale = kb_force_stale(d, pass);
		if (pass > 1 && !stale)
			break;
		if (pass == 1)
			kb_drop_precompiled(d->run);
		for (size_t i = 0; i < d->target_count && stale; i++) {
			char *target = kb_format("%s/%s", d->run->root, d->target[i].name);

			kb_unlink_tree(d, kb_str(d->target[i].original_link, "output"));
			kb_unlink_tree(d, target);
			free(target);
		}
		if (kb_build(d->run, "patched build"))
			return kb_build_ended(d);
		kb_records_load(&d->records, d->run->log);
	}
	return KB_BUILT;
}

/* Nobody sees what became of it: what was preprocessed into a pipe from something that has changed was so again. */
static bool kb_check_piped(struct kb_drive *d)
{
	json_t *cache = json_object(), *latest = json_object(), *unit;
	const char *key;
	bool ok = true;
	size_t i;

	json_array_foreach(d->records.compiles, i, unit) if (kb_is_piped(unit))
	    json_object_set(latest, kb_str(unit, "key"), unit);
	json_object_foreach(latest, key, unit)
	{
		/* A configure script's sources are gone. */
		if ((!kb_ends_with(kb_str(unit, "source"), "/-") && !kb_is_there(d, kb_str(unit, "source"))) ||
		    !kb_is_stale(d, unit, cache))
			continue;
		kb_refuse(d, "", kb_relative(d, kb_str(unit, "source")),
			  "was preprocessed into a pipe, and was not preprocessed again by the build command although "
			  "what it is "
			  "made from changed",
			  "make the build command compile everything (make -B, or a clean first)");
		ok = false;
	}
	json_decref(cache);
	json_decref(latest);
	return ok;
}

/* Nothing that was linked may be older than what it is made from. */
static bool kb_check_fresh(struct kb_drive *d)
{
	json_t *cache = json_object(), *unit;
	const char *key;
	bool ok = true;

	json_object_foreach(d->t->patched_units, key, unit)
	{
		const json_t *latest = kb_record_latest(&d->records, key, d->records.seq);

		if (kb_is_outdated(d, unit, cache)) {
			kb_refuse(d, "", kb_relative(d, kb_str(unit, "source")),
				  "was not compiled again by the build command although what it is made from changed",
				  "make the build command compile everything (make -B, or a clean first)");
			ok = false;
		} else if (latest && strcmp(kb_str(latest, "sha"), kb_str(unit, "sha"))) {
			kb_refuse(d, "", kb_relative(d, kb_str(unit, "source")),
				  "was compiled again, but the target was linked with an older object",
				  "make the build command link everything again");
			ok = false;
		}
	}
	json_decref(cache);
	return ok;
}

static size_t kb_pair_units(const struct kb_drive *d, struct klp_unit **out)
{
	struct klp_unit *units =
	    kb_alloc((json_object_size(d->t->original_units) + json_object_size(d->t->patched_units)) * sizeof(*units));
	const char *key;
	json_t *unit;
	size_t n = 0;

	json_object_foreach(d->t->original_units, key, unit)
	{
		const json_t *other = json_object_get(d->t->patched_units, key);

		units[n].name = kb_relative(d, kb_str(unit, "source"));
		units[n].original_o = kb_str(unit, "kept");
		units[n].patched_o = other ? kb_str(other, "kept") : NULL;
		units[n++].assembly = json_is_true(json_object_get(unit, "asm"));
	}
	json_object_foreach(d->t->patched_units, key, unit)
	{
		if (json_object_get(d->t->original_units, key))
			continue;
		units[n].name = kb_relative(d, kb_str(unit, "source"));
		units[n].patched_o = kb_str(unit, "kept");
		units[n++].assembly = json_is_true(json_object_get(unit, "asm"));
	}
	*out = units;
	return n;
}

static int kb_install(const char *from, const char *to)
{
	char *temporary = kb_format("%s.%d.tmp", to, (int)getpid());
	bool ok = kb_copy(from, temporary, 0644) && !rename(temporary, to);

	if (!ok) {
		kb_error("%s cannot be written: %s", to, strerror(errno));
		unlink(temporary);
	}
	free(temporary);
	return ok ? KB_BUILT : KB_FAILED;
}

static bool kb_is_in(const json_t *list, const char *symbol, const char *file)
{
	size_t i;
	json_t *e;

	json_array_foreach(list, i, e) if (!strcmp(kb_str(e, "symbol"), symbol) &&
					   (!file || !strcmp(kb_str(e, "file"), file))) return true;
	return false;
}

/*
 * Does only that differ between the two objects of a unit, which the module has anyway? `found` is what the comparison
 * of the trees said. Then the unit's other functions, which are not in the module, are as in the first object.
 */
static bool kb_again_is_local(const json_t *unit, const json_t *other, const char *file, const json_t *found)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *differences = NULL, *f;
	size_t i;
	int rc = klp_objdiff_compare(kb_str(unit, "kept"), kb_str(other, "kept"), &differences, &e);
	bool ok = rc == KLP_OBJDIFF_BUILT && !json_array_size(json_object_get(differences, "new")) &&
		  !json_array_size(json_object_get(differences, "data")) &&
		  !json_array_size(json_object_get(differences, "removed"));

	json_array_foreach(json_object_get(differences, "changed"), i, f) ok =
	    ok && (kb_is_in(json_object_get(found, "changed"), kb_str(f, "symbol"), file) ||
		   kb_is_in(json_object_get(found, "new"), kb_str(f, "symbol"), file));
	json_decref(differences);
	return ok || rc == KLP_OBJDIFF_NO_CHANGE;
}

/*
 * The fix is the first to use something of which the linker would have put a part into the program: another object's
 * datum (stderr) in a unit that reaches it directly, or a function of the compiler's library. It cannot be put there
 * now. These units are compiled once more so that they do without, and the patched program is linked again. true: the
 * patched units are these now, and nothing else became different by it.
 */
static bool kb_build_again(struct kb_drive *d, const json_t *found)
{
	const json_t *wanted = json_object_get(found, "again"), *link = NULL;
	json_t *list = json_object(), *units = NULL, *old = d->t->patched_units, *e, *unit;
	char *target = kb_format("%s/%s", d->run->root, d->t->name);
	long long seq = d->records.seq;
	const char *key;
	bool ok = true;
	size_t i;

	json_array_foreach(json_object_get(found, "refused"), i, e) ok =
	    ok && kb_is_in(wanted, kb_str(e, "symbol"), kb_str(e, "file"));
	json_object_foreach(old, key, unit)
	{
		const char *file = kb_relative(d, kb_str(unit, "source"));

		json_array_foreach(wanted, i, e) if (!strcmp(kb_str(e, "file"), file))
		{
			const json_t *other = json_object_get(list, kb_str(unit, "source"));

			ok = ok && (!other || !strcmp(kb_str(other, "gcc"), kb_str(e, "gcc")));
			json_object_set(list, kb_str(unit, "source"), e);
			kb_force(d, unit, 1);
		}
	}
	ok = ok && json_object_size(list);
	if (ok) {
		d->run->again = kb_format("%s/again", d->run->work);
		kb_unlink_tree(d, kb_str(d->t->patched_link, "output"));
		kb_unlink_tree(d, target);
		ok = !json_dump_file(list, d->run->again, 0) &&
		     !kb_build(d->run, "patched build of units that do without what the running file does not have");
	}
	if (ok) {
		kb_records_load(&d->records, d->run->log);
		link = kb_target_link(d, seq, d->records.seq);
		ok = link && kb_units_of(d, link, d->records.seq, &units) &&
		     json_object_size(units) == json_object_size(old);
	}
	json_object_foreach(old, key, unit)
	{
		const json_t *other = ok ? json_object_get(units, key) : NULL;

		if (!ok)
			break;
		ok = other && (!strcmp(kb_str(unit, "sha"), kb_str(other, "sha")) ||
			       (json_object_get(list, kb_str(unit, "source")) &&
				kb_again_is_local(unit, other, kb_relative(d, kb_str(unit, "source")), found)));
	}
	if (ok) {
		d->t->patched_link = link;
		d->t->patched_units = units;
		json_decref(old);
	} else {
		json_decref(units);
	}
	json_decref(list);
	free(target);
	return ok;
}

static void kb_note_again(struct kb_drive *d, const json_t *units)
{
	json_t *e;
	size_t i;

	json_array_foreach(units, i, e) json_array_append_new(
	    d->run->notes,
	    json_sprintf(
		"%s was compiled once more with %s (clang: %s), so that it does without %s, or reaches it through "
		"slots; only functions of the module differ by that",
		kb_str(e, "file"), kb_str(e, "gcc"), kb_str(e, "clang"), kb_str(e, "symbol")));
}

/* Of several files that run, each may say the same. */
static void kb_note_once(struct kb_run *r, json_t *note)
{
	json_t *other;
	size_t i;

	json_array_foreach(r->notes, i, other) if (json_equal(note, other)) return;
	json_array_append(r->notes, note);
}

static void kb_report_error(struct kb_drive *d, const struct klp_error *e)
{
	kb_error("%s", e->text);
	json_object_set_new(d->report, "error",
			    json_pack("{s:s, s:s}", "reason", klp_reason_name(e->reason), "text", e->text));
}

/* Puts what the comparison of one target said into the report; of several targets each entry says which. */
static void kb_report_found(struct kb_drive *d, json_t *found)
{
	const char *key;
	json_t *list, *entry;
	size_t i;

	if (d->target_count == 1) {
		json_object_update(d->report, found);
		return;
	}
	json_object_foreach(found, key, list)
	{
		json_t *all = json_object_get(d->report, key);

		if (!json_is_array(list) || !strcmp(key, "notes"))
			continue;
		if (!all) {
			all = json_array();
			json_object_set_new(d->report, key, all);
		}
		json_array_foreach(list, i, entry)
		{
			json_object_set_new(entry, "target", json_string(d->t->name));
			json_array_append(all, entry);
		}
	}
}

/* The module of the target that is looked at, for what runs, at that path. */
static int kb_compare(struct kb_drive *d, const char *module)
{
	const struct kb_options *o = d->run->o;
	const char *running = d->t->shipped ? d->t->shipped : kb_str(d->t->original_link, "kept");
	char *debug = kb_debug_file(running, o->debug);
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_unit *units;
	bool linked = d->t->original_link;
	struct klp_objdiff_input in = {.original_linked = linked ? kb_str(d->t->original_link, "kept") : NULL,
				       .patched_linked = linked ? kb_str(d->t->patched_link, "kept") : NULL,
				       .running = running,
				       .debug = debug,
				       .patch_name = o->name,
				       .description = o->description,
				       .labels = d->run->labels,
				       .statements = d->t->statements,
				       .dry_run = o->dry_run && d->target_count == 1,
				       .output = module};
	json_t *found = NULL;
	int result;

	if (o->debug && !debug) {
		kb_error("%s holds no debug file for %s", o->debug, running);
		return KB_FAILED;
	}
	in.unit_count = kb_pair_units(d, &units);
	in.units = units;
	kb_progress("comparing %zu units", in.unit_count);
	result = klp_objdiff_run(&in, &found, &e);
	if (linked && result == KLP_OBJDIFF_REFUSED && json_array_size(json_object_get(found, "again")) &&
	    kb_build_again(d, found)) {
		struct klp_error ignored = KLP_ERROR_INIT;
		json_t *again = NULL;

		free(units);
		in.patched_linked = kb_str(d->t->patched_link, "kept");
		in.unit_count = kb_pair_units(d, &units);
		in.units = units;
		/* What was refused at first is the better answer if this way is closed, too. */
		if (klp_objdiff_run(&in, &again, &ignored) == KLP_OBJDIFF_BUILT) {
			json_t *swap = found;

			found = again;
			again = swap;
			result = KLP_OBJDIFF_BUILT;
			kb_note_again(d, json_object_get(again, "again"));
		}
		json_decref(again);
	}
	json_decref(d->t->found);
	d->t->found = found;
	if (found) {
		json_t *note;
		size_t i;

		json_array_foreach(json_object_get(found, "notes"), i, note) kb_note_once(d->run, note);
		if (o->report || o->explain)
			json_object_set_new(found, "inlined", kb_inlined(d, json_object_get(found, "changed")));
		if (o->report)
			kb_review(d, found, in.original_linked, running);
		kb_report_found(d, found);
	}
	if (result == KLP_OBJDIFF_FAILED)
		kb_report_error(d, &e);
	free(units);
	free(debug);
	return result;
}

/* What the driver itself has against the module. */
static int kb_judge(struct kb_drive *d, int result)
{
	bool ok = result == KLP_OBJDIFF_FAILED || kb_check_layouts(d);

	for (size_t i = 0; i < d->target_count && ok && result == KLP_OBJDIFF_BUILT; i++) {
		d->t = &d->target[i];
		ok = kb_check_ipa_ra(d);
	}
	if (ok)
		return result;
	json_object_del(d->report, "metadata");
	return KLP_OBJDIFF_REFUSED;
}

/* Where the module for what runs goes: of several with its build-id in the name. */
static char *kb_output(const struct kb_drive *d, const char *build_id)
{
	const struct kb_options *o = d->run->o;
	size_t stem = strlen(o->output);

	if (o->running_count < 2)
		return kb_format("%s", o->output);
	if (stem > 4 && !strcmp(o->output + stem - 4, ".klp"))
		stem -= 4;
	return kb_format("%.*s-%.12s.klp", (int)stem, o->output, build_id);
}

/* One module for each file that runs, or none at all: what is refused for one of them is not to be forgotten. */
static int kb_make_modules(struct kb_drive *d)
{
	const struct kb_options *o = d->run->o;
	size_t count = o->running_count ? o->running_count : 1, i;
	json_t *modules = json_array(), *m, *other;
	int result = KB_BUILT;

	for (i = 0; i < count && result == KB_BUILT; i++) {
		char *module = kb_format("%s/module-%zu.klp", d->run->work, i), *output, id[130], link[256];
		size_t k;

		if (i) {
			kb_read_producers(d, i);
			if (!kb_check_compilers(d))
				result = KB_REFUSED;
		}
		if (result == KB_BUILT)
			result = kb_judge(d, kb_compare(d, module));
		kb_build_id(d->t->shipped ? d->t->shipped : kb_str(d->t->original_link, "kept"), id, link);
		output = kb_output(d, id);
		json_array_foreach(modules, k, other) if (!strcmp(kb_str(other, "output"), output))
		{
			kb_error("%s and %s have the same build-id", kb_str(other, "running"), d->t->shipped);
			result = KB_FAILED;
		}
		json_array_append_new(modules, json_pack("{s:s?, s:s, s:s, s:s}", "running", d->t->shipped, "build_id",
							 id, "output", output, "made", module));
		if (result == KB_BUILT && !o->dry_run)
			json_object_set_new(json_array_get(modules, i), "size", kb_module_size(module));
		if (result != KB_BUILT && count > 1)
			json_array_append_new(d->run->notes,
					      json_sprintf("no module is made: that is about %s", d->t->shipped));
		free(module);
		free(output);
	}
	json_array_foreach(modules, i, m)
	{
		if (result == KB_BUILT && !o->dry_run)
			result = kb_install(kb_str(m, "made"), kb_str(m, "output"));
		json_object_del(m, "made");
	}
	if (result == KB_BUILT)
		json_object_set(d->report, "modules", modules);
	json_decref(modules);
	return result;
}

/* Adds what the target is and what became of it to the report's list. */
static void kb_note_target(struct kb_drive *d, json_t *targets, int result)
{
	char id[130], link[256];

	kb_build_id(d->t->shipped ? d->t->shipped : kb_str(d->t->original_link, "kept"), id, link);
	json_array_append_new(targets,
			      json_pack("{s:s, s:s?, s:s, s:b}", "target", d->t->name, "running", d->t->shipped,
					"build_id", id, "patched", result == KLP_OBJDIFF_BUILT));
}

/*
 * One module for all targets: each is compared and resolved on its own, against its own running file, and what came of
 * them is put together. A target that the diffs do not change is not in it. All are looked at, so that everything that
 * is refused is said.
 */
static int kb_make_joint(struct kb_drive *d)
{
	char **part = kb_alloc(d->target_count * sizeof(*part)), *joint = kb_format("%s/module.klp", d->run->work);
	json_t *targets = json_array(), *report = NULL;
	struct klp_error e = KLP_ERROR_INIT;
	int result = KB_NO_CHANGE;
	size_t count = 0;

	for (size_t i = 0; i < d->target_count; i++) {
		char *module = kb_format("%s/module-%zu.klp", d->run->work, i);
		int one;

		d->t = &d->target[i];
		one = kb_compare(d, module);
		kb_note_target(d, targets, one);
		if (one == KLP_OBJDIFF_BUILT)
			part[count++] = module;
		else
			free(module);
		if (one != KLP_OBJDIFF_NO_CHANGE && result != KB_FAILED && result != KB_REFUSED)
			result = one;
		if (one == KLP_OBJDIFF_FAILED)
			break;
	}
	if (result != KB_FAILED)
		result = kb_judge(d, result);
	if (result == KB_BUILT) {
		result = klp_objdiff_merge((const char *const *)part, count, joint, &report, &e);
		kb_report_found(d, report);
		json_object_set(d->report, "metadata", json_object_get(report, "metadata"));
		if (result == KB_FAILED)
			kb_report_error(d, &e);
	}
	if (result == KB_BUILT && !d->run->o->dry_run)
		json_object_set_new(
		    d->report, "modules",
		    json_pack("[{s:s, s:o}]", "output", d->run->o->output, "size", kb_module_size(joint)));
	if (result == KB_BUILT && !d->run->o->dry_run)
		result = kb_install(joint, d->run->o->output);
	json_object_set_new(d->report, "targets", targets);
	json_decref(report);
	while (count)
		free(part[--count]);
	free(part);
	free(joint);
	return result;
}

/* What make would take for up to date goes from the copy: the target with what its name leads to, and libtool's. */
static void kb_drop_target(const struct kb_drive *d)
{
	char *path = kb_format("%s/%s", d->run->tree, d->t->name), *real = kb_canonical("/", path), *libs;
	const char *slash = strrchr(path, '/');

	libs = kb_format("%.*s/.libs/%s", (int)(slash - path), path, slash + 1);
	if (kb_file_kind(path) == ET_EXEC || kb_file_kind(path) == ET_DYN) {
		if (kb_is_below(real, d->run->tree))
			unlink(real);
		unlink(path);
	}
	if (kb_file_kind(libs) == ET_EXEC || kb_file_kind(libs) == ET_DYN) {
		unlink(libs);
		unlink(path);
	}
	free(path);
	free(real);
	free(libs);
}

/*
 * Was this assembly made by a compiler? It says what it made it of. What is called .i was preprocessed, whether or not
 * it still says so (-P, a filter).
 */
static bool kb_is_made_text(const char *path)
{
	bool made = kb_is_text(path) && !kb_is_assembly(path);
	char *text = kb_is_text(path) && !made ? kb_read(path, KB_MAX_RECORD, NULL) : NULL, *at, name[256];

	for (at = text; at && !made && (at = strstr(at, "\t.file\t\"")); at++)
		made = sscanf(at, "\t.file\t\"%255[^\"]\"", name) == 1 && kb_is_source(name) && !kb_is_assembly(name);
	free(text);
	return made;
}

/* The same is true of assembly and preprocessed source that a compiler made in an earlier build. */
static bool kb_set_text_aside(const struct kb_drive *d, const json_t *unit)
{
	const char *source = kb_str(unit, "source");
	char *file, *aside;
	bool moved;

	if (kb_record_text(&d->records, source))
		return false;
	file = kb_tree_path(d->run, source);
	aside = kb_format("%s" KB_ASIDE, file);
	moved = kb_is_below(file, d->run->tree) && kb_is_made_text(file) && !rename(file, aside);
	if (moved)
		json_array_append_new(d->aside, json_string(file));
	free(file);
	free(aside);
	return moved;
}

/* No rule makes them: they are sources. */
static void kb_put_texts_back(struct kb_drive *d)
{
	size_t i;
	json_t *file;

	json_array_foreach(d->aside, i, file)
	{
		char *aside = kb_format("%s" KB_ASIDE, json_string_value(file));

		if (rename(aside, json_string_value(file)) && errno != ENOENT)
			kb_error("%s: %s", aside, strerror(errno));
		free(aside);
	}
	json_array_clear(d->aside);
}

/*
 * An archive that was left over from an earlier build, of objects that its rule does not keep: make takes it for up to
 * date. Without it the build command shows how it is made; one that nobody makes is refused afterwards.
 */
static bool kb_drop_missing(const struct kb_drive *d)
{
	json_t *units = json_object(), *missing = json_array(), *m, *unit;
	bool any = false;
	const char *key;
	size_t i;

	kb_link_units(&d->records, d->t->original_link, d->original_seq, d->run->root, units, missing);
	json_array_foreach(missing, i, m)
	{
		char *file = kb_tree_path(d->run, kb_str(m, "path"));

		if (!*kb_str(m, "why") && kb_is_below(file, d->run->tree) && kb_file_kind(file) == -1)
			any |= !unlink(file);
		free(file);
	}
	json_object_foreach(units, key, unit) if (kb_set_text_aside(d, unit))
	{
		any = true;
		kb_force(d, unit, 1);
	}
	json_decref(units);
	json_decref(missing);
	return any;
}

/* How the units were compiled that read a patched file with line numbers to keep. */
static void kb_note_lines(const struct kb_drive *d)
{
	json_int_t kept = 0, apart = 0, plain = 0;
	json_t *units = json_object(), *unit;
	const char *key;

	for (size_t i = 0; i < d->target_count; i++)
		json_object_update(units, d->target[i].patched_units);
	json_object_foreach(units, key, unit)
	{
		const char *lines = kb_str(unit, "lines");

		kept += !strcmp(lines, "kept");
		apart += !strcmp(lines, "apart");
		if (strcmp(lines, "plain"))
			continue;
		plain++;
		json_array_append_new(d->run->notes,
				      json_sprintf("%s does not compile with the old line numbers: its functions that "
						   "use __LINE__ below an inserted or removed line count as changed",
						   kb_relative(d, kb_str(unit, "source"))));
	}
	json_decref(units);
	json_object_set_new(d->facts, "lines",
			    json_pack("{s:I, s:I, s:I}", "kept", kept, "apart", apart, "plain", plain));
}

/* Files that the diffs change and no unit reads: who asks why a fix changes nothing may find the reason here. */
static void kb_note_unread(const struct kb_drive *d)
{
	json_t *unread = json_deep_copy(d->touched), *unit;
	const char *key, *path;
	json_t *sha;

	for (size_t i = 0; i < d->target_count; i++)
		json_object_foreach(d->target[i].patched_units, key, unit)
		{
			const json_t *deps = json_object_get(unit, "deps");

			if (!json_is_object(deps)) { /* nobody knows */
				json_decref(unread);
				return;
			}
			json_object_foreach((json_t *)(uintptr_t)deps, path, sha)
			    json_object_del(unread, kb_relative(d, path));
		}
	json_object_foreach(unread, key, sha) json_array_append_new(
	    d->run->notes, json_sprintf("%s is changed by the diffs, and no compilation of the target reads it", key));
	json_decref(unread);
}

/* Runs fn for each target, until one says false. */
static bool kb_each_target(struct kb_drive *d, bool (*fn)(struct kb_drive *d))
{
	for (size_t i = 0; i < d->target_count; i++) {
		d->t = &d->target[i];
		if (!fn(d))
			return false;
	}
	return true;
}

static bool kb_find_original_link(struct kb_drive *d)
{
	d->t->original_link = kb_target_link(d, 0, d->original_seq);
	return d->t->original_link != NULL;
}

static bool kb_find_patched_link(struct kb_drive *d)
{
	d->t->patched_link = kb_target_link(d, 0, d->records.seq);
	if (!d->t->patched_link)
		kb_error("the patched build made no %s", d->t->name);
	return d->t->patched_link != NULL;
}

static void kb_drop_targets(struct kb_drive *d)
{
	for (size_t i = 0; i < d->target_count; i++) {
		d->t = &d->target[i];
		kb_drop_target(d);
	}
}

/* kb_drop_missing of all targets. */
static bool kb_drop_all_missing(struct kb_drive *d)
{
	bool any = false;

	for (size_t i = 0; i < d->target_count; i++) {
		d->t = &d->target[i];
		any |= kb_drop_missing(d);
	}
	return any;
}

static bool kb_read_original_units(struct kb_drive *d)
{
	return kb_units_of(d, d->t->original_link, d->original_seq, &d->t->original_units) && kb_check_compilers(d);
}

static bool kb_read_patched_units(struct kb_drive *d)
{
	return kb_units_of(d, d->t->patched_link, d->records.seq, &d->t->patched_units) && kb_check_fresh(d);
}

static void kb_say_no_link(const struct kb_drive *d)
{
	char *path = kb_format("%s/%s", d->run->tree, d->t->name);

	if (access(path, F_OK))
		kb_error("the build command made no %s in %s", d->t->name, d->run->o->source);
	else
		kb_error("klp-build did not see how %s was linked: the build command must compile and link it, "
			 "by a compiler that is "
			 "found in the PATH (--cc-dir adds a directory)",
			 d->t->name);
	free(path);
}

int kb_conclude(struct kb_drive *d)
{
	size_t again = 0, units = 0, i;
	json_t *unit;
	int rc;

	kb_note_lines(d);
	json_array_foreach(d->records.compiles, i, unit) again +=
	    !json_is_true(json_object_get(unit, "text")) && kb_seq(unit) > d->original_seq;
	for (i = 0; i < d->target_count; i++)
		units += json_object_size(d->target[i].patched_units);
	json_object_set_new(d->facts, "units", json_integer((json_int_t)units));
	json_object_set_new(d->facts, "compiled_again", json_integer((json_int_t)again));
	if (!kb_each_target(d, kb_find_statements))
		return KB_REFUSED;
	rc = d->target_count > 1 ? kb_make_joint(d) : kb_make_modules(d);
	for (i = 0; i < d->target_count; i++) {
		d->t = &d->target[i];
		kb_note_statements(d, "data");
	}
	return rc;
}

static int kb_build_both(struct kb_drive *d)
{
	struct kb_run *r = d->run;
	bool linked = false;
	size_t i;
	int rc;

	kb_drop_targets(d);
	for (int pass = 1; pass <= 2; pass++) {
		if (kb_build(r, "original build")) {
			if (pass == 1)
				return kb_build_ended(d);
			kb_put_texts_back(d);
			break; /* the first build's record says what is missing */
		}
		kb_records_load(&d->records, r->log);
		d->original_seq = d->records.seq;
		linked = kb_each_target(d, kb_find_original_link);
		if (!linked || !kb_drop_all_missing(d))
			break;
		kb_drop_targets(d);
	}
	if (!linked) {
		kb_say_no_link(d);
		return KB_FAILED;
	}
	if (!kb_each_target(d, kb_read_original_units))
		return KB_REFUSED;
	for (i = 0; i < r->o->diff_count; i++) {
		kb_note_touched(d, r->o->diffs[i]);
		if (!kb_apply(r, r->o->diffs[i]))
			return KB_FAILED;
	}
	kb_number_files(r, d->touched);
	rc = kb_build_patched(d);
	if (rc)
		return rc;
	if (!kb_each_target(d, kb_find_patched_link))
		return KB_FAILED;
	if (!kb_each_target(d, kb_read_patched_units) || !kb_check_piped(d))
		return KB_REFUSED;
	kb_note_unread(d);
	return kb_conclude(d);
}

int kb_drive(struct kb_run *r)
{
	static const char *const results[] = {"built", "failed", "usage", "no change", "refused"};
	struct kb_drive d = {.run = r, .target_count = r->o->target_count};
	struct timespec start, end;
	char *names;
	int rc;

	elf_version(EV_CURRENT);
	clock_gettime(CLOCK_MONOTONIC, &start);
	r->notes = json_array();
	r->labels = kb_labels(r->o);
	d.added = json_object();
	d.touched = json_object();
	d.aside = json_array();
	d.target = kb_alloc(d.target_count * sizeof(*d.target));
	names = kb_format("%s", r->o->target[0]);
	for (size_t i = 0; i < d.target_count; i++) {
		char *longer = i ? kb_format("%s, %s", names, r->o->target[i]) : NULL;

		d.target[i].name = r->o->target[i];
		if (!longer)
			continue;
		free(names);
		names = longer;
	}
	d.t = d.target;
	d.facts = json_pack("{s:s, s:s, s:s}", "source", r->source, "command",
			    r->o->database ? r->o->database : r->o->build, "target", names);
	free(names);
	d.report = json_pack("{s:s, s:o}", "klp_version", KLP_VERSION, "build", d.facts);
	rc = KB_FAILED;
	if (!kb_match_running(&d)) {
		rc = KB_USAGE;
	} else if ((!r->o->database || kb_read_database(&d)) && kb_prepare(r)) {
		kb_read_all_producers(&d);
		rc = r->o->database ? kb_build_listed(&d) : kb_build_both(&d);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (rc < 0 || rc > KB_REFUSED)
		rc = KB_FAILED;
	json_object_set_new(
	    d.facts, "seconds",
	    json_real((double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9));
	json_object_set_new(d.facts, "place", json_string(r->place == KB_PLACE_COPY ? "copy" : "mounted"));
	json_object_set(d.report, "labels", r->labels);
	json_object_set_new(d.report, "patch", json_string(r->o->name));
	json_object_set_new(d.report, "result", json_string(results[rc]));
	json_object_set_new(d.report, "exit", json_integer(rc));
	json_object_set_new(d.report, "output",
			    rc == KB_BUILT && !r->o->dry_run && (d.target_count > 1 || r->o->running_count < 2)
				? json_string(r->o->output)
				: json_null());
	json_object_set(d.report, "notes", r->notes);
	if (r->o->explain)
		kb_explain(&d, r->o->explain);
	kb_report_print(d.report, r->o->explain);
	if (r->o->report && !kb_report_write(d.report, r->o->report)) {
		kb_error("%s cannot be written", r->o->report);
		rc = rc ? rc : KB_FAILED;
	}
	return rc;
}
