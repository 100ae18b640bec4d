/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs: which file it is, and whether its units were compiled as the build command compiles them: by the same
 * compiler, and so that their functions can be redirected at all. What the code is like, objdiff compares.
 */
#include "drive.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "klp/include/klp/error.h"

/* What is shipped: --running, else what the user's own tree holds; NULL: neither. */
static char *kb_shipped_file(const struct kb_drive *d, size_t index)
{
	const struct kb_run *r = d->run;
	char *own;

	if (d->t->running_file)
		return kb_format("%s", d->t->running_file);
	if (d->target_count == 1 && index < r->o->running_count)
		return kb_format("%s", r->o->running[index]);
	own = kb_format("%s/%s", r->source, d->t->name);
	if (kb_file_kind(own) != ET_EXEC && kb_file_kind(own) != ET_DYN) {
		const char *slash = strrchr(own, '/');
		char *libs = kb_format("%.*s/.libs/%s", (int)(slash - own), own, slash + 1);

		free(own);
		own = libs;
	}
	if (kb_file_kind(own) == ET_EXEC || kb_file_kind(own) == ET_DYN) {
		json_array_append_new(
		    r->notes,
		    json_sprintf("no --running: the module is for %s as it is in the source tree", d->t->name));
		return own;
	}
	free(own);
	json_array_append_new(
	    r->notes, d->target_count == 1
			  ? json_string("no --running: the module is for the program as klp-build rebuilt it")
			  : json_sprintf("no --running: the module is for %s as klp-build rebuilt it", d->t->name));
	return NULL;
}

void kb_read_producers(struct kb_drive *d, size_t index)
{
	char *debug;

	free(d->t->shipped);
	json_decref(d->t->running);
	d->t->running = NULL;
	d->t->shipped = kb_shipped_file(d, index);
	if (!d->t->shipped)
		return;
	debug = kb_debug_file(d->t->shipped, d->run->o->debug);
	d->t->running = kb_producers(debug ? debug : d->t->shipped);
	if (!json_array_size(d->t->running) && debug) {
		json_decref(d->t->running);
		d->t->running = kb_producers(d->t->shipped);
	}
	free(debug);
}

void kb_read_all_producers(struct kb_drive *d)
{
	struct kb_run *r = d->run;
	json_t *all = NULL;

	for (size_t i = 0; i < d->target_count; i++) {
		d->t = &d->target[i];
		kb_read_producers(d, 0);
		if (!d->t->running)
			continue;
		if (!all)
			all = json_array();
		json_array_extend(all, d->t->running);
	}
	if (!all)
		return;
	r->built_at = kb_built_at(all, r->source);
	if (r->built_at)
		json_array_append_new(
		    r->notes, json_sprintf("what runs was built in %s: __FILE__ is what it was there", r->built_at));
	r->compilers = kb_format("%s/compilers", r->work);
	if (json_dump_file(all, r->compilers, JSON_COMPACT)) {
		kb_error("%s cannot be written: %s", r->compilers, strerror(errno));
		free(r->compilers);
		r->compilers = NULL;
	}
	json_decref(all);
}

/* DT_SONAME, or NULL. The caller frees. */
static char *kb_soname(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf *elf = fd >= 0 ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
	Elf_Scn *scn = NULL;
	char *found = NULL;

	while (elf && !found && (scn = elf_nextscn(elf, scn))) {
		GElf_Shdr sh;
		Elf_Data *data;

		if (!gelf_getshdr(scn, &sh) || sh.sh_type != SHT_DYNAMIC || !sh.sh_entsize ||
		    !(data = elf_getdata(scn, NULL)))
			continue;
		for (size_t i = 0; i < data->d_size / sh.sh_entsize && !found; i++) {
			GElf_Dyn dyn;
			const char *name = gelf_getdyn(data, (int)i, &dyn) && dyn.d_tag == DT_SONAME
					       ? elf_strptr(elf, sh.sh_link, dyn.d_un.d_val)
					       : NULL;

			found = name ? kb_format("%s", name) : NULL;
		}
	}
	elf_end(elf);
	if (fd >= 0)
		close(fd);
	return found;
}

/* The target that the file is said to be, or is by its name or its soname; NULL: none or more than one. */
static struct kb_target *kb_target_of(struct kb_drive *d, const char *running, const char **file)
{
	struct kb_target *found = NULL;
	char *soname;

	*file = running;
	for (size_t i = 0; i < d->target_count; i++) {
		size_t n = strlen(d->target[i].name);

		if (strncmp(running, d->target[i].name, n) || running[n] != '=')
			continue;
		*file = running + n + 1;
		return &d->target[i];
	}
	soname = kb_soname(running);
	for (size_t i = 0; i < d->target_count; i++) {
		const char *base = kb_base(d->target[i].name);

		if (strcmp(base, kb_base(running)) && (!soname || strcmp(base, soname)))
			continue;
		if (found) {
			free(soname);
			return NULL;
		}
		found = &d->target[i];
	}
	free(soname);
	return found;
}

bool kb_match_running(struct kb_drive *d)
{
	const struct kb_options *o = d->run->o;

	/* Without a build the files that run are the targets. */
	for (size_t i = 0; i < d->target_count && o->database; i++)
		d->target[i].running_file = o->running[i];
	for (size_t i = 0; i < o->running_count && d->target_count > 1 && !o->database; i++) {
		const char *file;
		struct kb_target *t = kb_target_of(d, o->running[i], &file);

		if (!t) {
			kb_error("which target is %s? Neither its name nor its soname says so: write --running "
				 "TARGET=FILE",
				 file);
			return false;
		}
		if (t->running_file) {
			kb_error("%s and %s are both said to be %s: of several targets one build can be given, make a "
				 "module for each",
				 t->running_file, file, t->name);
			return false;
		}
		if (access(file, R_OK)) {
			kb_error("%s: %s", file, strerror(errno));
			return false;
		}
		t->running_file = file;
	}
	return true;
}

static const char kb_compiler_advice[] =
    "build with the compiler that the running program was built with (its package's build dependencies)";

static void kb_refuse_compiler(struct kb_drive *d, const char *file, const char *was, const char *is)
{
	char *text =
	    kb_format("in the running program it was compiled by %s, the build command compiles it by %s", was, is);

	kb_refuse(d, "", file, text, kb_compiler_advice);
	free(text);
}

/* A build ended badly: KB_REFUSED if the recorder stopped it because of the compiler. */
int kb_build_ended(struct kb_drive *d)
{
	json_t *other = kb_other_compiler(d->run);

	if (!other)
		return KB_FAILED;
	kb_refuse_compiler(d, kb_str(other, "file"), kb_str(other, "was"), kb_str(other, "is"));
	json_decref(other);
	return KB_REFUSED;
}

/* The same once more for what the link consists of, by its debug information: objects need not name their compiler. */
bool kb_check_compilers(struct kb_drive *d)
{
	bool linked = d->t->original_link, known = json_array_size(d->t->running);
	json_t *all = known && linked ? kb_producers(kb_str(d->t->original_link, "kept")) : NULL, *unit;
	const char *key;
	bool ok = true;

	json_object_foreach(d->t->original_units, key, unit)
	{
		const char *file = kb_relative(d, kb_str(unit, "source")), *was = kb_producer_find(d->t->running, file);
		json_t *built = was && !linked ? kb_producers(kb_str(unit, "kept")) : json_incref(all);
		const char *is = was ? kb_producer_find(built, file) : NULL;
		struct kb_compiler a, b;

		if (is && kb_parse_compiler(was, &a) && kb_parse_compiler(is, &b) && !kb_same_compiler(&a, &b)) {
			kb_refuse_compiler(d, file, a.name, b.name);
			ok = false;
		}
		json_decref(built);
	}
	json_decref(all);
	return ok;
}

static const json_t *kb_unit_named(const struct kb_drive *d, const json_t *units, const char *file)
{
	json_t *unit;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)units, key,
			    unit) if (!strcmp(kb_relative(d, kb_str(unit, "source")), file)) return unit;
	return NULL;
}

/*
 * Hazard H6: a function that only its attribute makes patchable, in a unit compiled without -fpatchable-function-entry.
 * Its callers may hold values in registers that the function did not use; neither klp's stub nor the new code knows.
 */
bool kb_check_ipa_ra(struct kb_drive *d)
{
	bool ok = true;
	size_t i;
	json_t *f;

	json_array_foreach(json_object_get(d->t->found, "changed"), i, f)
	{
		const char *file = kb_str(f, "file"), *producer = kb_producer_find(d->t->running, file);
		const json_t *unit = kb_unit_named(d, d->t->original_units, file);
		bool built = json_is_true(json_object_get(unit, "ipa_ra"));
		char *text;

		if (!built && !(producer && kb_producer_ipa_ra(producer)))
			continue;
		ok = false;
		text = kb_format("the function has no usable patch site: %s: %s its unit is compiled without "
				 "-fpatchable-function-entry and without -fno-ipa-ra, so its callers may rely on the "
				 "registers that it leaves alone",
				 klp_reason_name(KLP_ATTRIBUTE_ONLY),
				 built ? "though it is marked patchable," : "in the running program");
		kb_refuse(d, kb_str(f, "symbol"), file, text,
			  "build the target with klp's flags (pkg-config --cflags klp), or with -fno-ipa-ra");
		free(text);
	}
	return ok;
}
