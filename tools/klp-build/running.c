/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs: which file it is, and whether its units were compiled as the build command compiles them: by the same
 * compiler, and so that their functions can be redirected at all. What the code is like, objdiff compares.
 */
#include "drive.h"

#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "klp/include/klp/error.h"

/* What is shipped: --running, else what the user's own tree holds; NULL: neither. */
static char *kb_shipped_file(const struct kb_run *r, size_t index)
{
	char *own;

	if (index < r->o->running_count)
		return kb_format("%s", r->o->running[index]);
	own = kb_format("%s/%s", r->source, r->o->target);
	if (kb_file_kind(own) != ET_EXEC && kb_file_kind(own) != ET_DYN) {
		const char *slash = strrchr(own, '/');
		char *libs = kb_format("%.*s/.libs/%s", (int)(slash - own), own, slash + 1);

		free(own);
		own = libs;
	}
	if (kb_file_kind(own) == ET_EXEC || kb_file_kind(own) == ET_DYN) {
		json_array_append_new(
		    r->notes,
		    json_sprintf("no --running: the module is for %s as it is in the source tree", r->o->target));
		return own;
	}
	free(own);
	json_array_append_new(r->notes,
			      json_string("no --running: the module is for the program as klp-build rebuilt it"));
	return NULL;
}

void kb_read_producers(struct kb_drive *d, size_t index)
{
	struct kb_run *r = d->run;
	char *debug;

	free(d->shipped);
	json_decref(d->running);
	d->running = NULL;
	d->shipped = kb_shipped_file(r, index);
	if (!d->shipped)
		return;
	debug = kb_debug_file(d->shipped, r->o->debug);
	d->running = kb_producers(debug ? debug : d->shipped);
	if (!json_array_size(d->running) && debug) {
		json_decref(d->running);
		d->running = kb_producers(d->shipped);
	}
	free(debug);
	if (index)
		return; /* the builds are over */
	r->compilers = kb_format("%s/compilers", r->work);
	if (json_dump_file(d->running, r->compilers, JSON_COMPACT)) {
		kb_error("%s cannot be written: %s", r->compilers, strerror(errno));
		free(r->compilers);
		r->compilers = NULL;
	}
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
	json_t *built = json_array_size(d->running) ? kb_producers(kb_str(d->original_link, "kept")) : NULL, *unit;
	const char *key;
	bool ok = true;

	json_object_foreach(d->original_units, key, unit)
	{
		const char *file = kb_relative(d, kb_str(unit, "source")), *was = kb_producer_find(d->running, file),
			   *is = was ? kb_producer_find(built, file) : NULL;
		struct kb_compiler a, b;

		if (is && kb_parse_compiler(was, &a) && kb_parse_compiler(is, &b) && !kb_same_compiler(&a, &b)) {
			kb_refuse_compiler(d, file, a.name, b.name);
			ok = false;
		}
	}
	json_decref(built);
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
bool kb_check_ipa_ra(struct kb_drive *d, const json_t *found)
{
	bool ok = true;
	size_t i;
	json_t *f;

	json_array_foreach(json_object_get(found, "changed"), i, f)
	{
		const char *file = kb_str(f, "file"), *producer = kb_producer_find(d->running, file);
		const json_t *unit = kb_unit_named(d, d->original_units, file);
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
