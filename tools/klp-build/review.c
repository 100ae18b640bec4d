/* SPDX-License-Identifier: Apache-2.0 */
/* What a reviewer reads beside the decisions: the code of each function before and after, and the module's size. */
#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drive.h"
#include "listing.h"
#include "source-text.h"

static const json_t *kb_unit_named(const struct kb_drive *d, const json_t *units, const char *file)
{
	const char *key;
	json_t *unit;

	json_object_foreach((json_t *)(uintptr_t)units, key,
			    unit) if (!strcmp(kb_relative(d, kb_str(unit, "source")), file)) return unit;
	return NULL;
}

/* Of a function in the object that klp-build kept of its unit. */
static json_t *kb_unit_listing(const struct kb_drive *d, const json_t *units, const char *file, const char *symbol,
			       bool patched)
{
	const json_t *unit = kb_unit_named(d, units, file);
	struct kb_source_text source = {.run = d->run, .patched = patched, .lines = kb_str(unit, "lines")};
	char *log = kb_format("%s/listing", d->run->work);
	json_t *lines =
	    unit && *symbol ? kb_listing(kb_str(unit, "kept"), symbol, log, kb_source_text_line, &source) : NULL;

	kb_source_text_end(&source);
	free(log);
	return lines;
}

static void kb_put_listing(json_t *entry, json_t *original, json_t *patched)
{
	if (original || patched)
		json_object_set_new(entry, "listing",
				    json_pack("{s:o*, s:o*}", "original", original, "patched", patched));
}

static json_t *kb_place_listing(const struct kb_drive *d, const char *file, const char *symbol, const json_t *place)
{
	char *log = kb_format("%s/listing", d->run->work);
	json_t *lines = kb_listing_range(file, symbol, (uint64_t)json_integer_value(json_array_get(place, 0)),
					 (uint64_t)json_integer_value(json_array_get(place, 1)), log);

	free(log);
	return lines;
}

/* Invariant B2: what runs is not what was rebuilt, and here is the difference. */
static void kb_review_unequal(const struct kb_drive *d, json_t *entry, const char *rebuilt, const char *running)
{
	const json_t *code = json_object_get(entry, "code");

	if (code)
		kb_put_listing(entry,
			       kb_place_listing(d, running, kb_str(entry, "symbol"), json_object_get(code, "running")),
			       kb_place_listing(d, rebuilt, kb_str(entry, "symbol"), json_object_get(code, "rebuilt")));
}

void kb_review(struct kb_drive *d, json_t *found, const char *rebuilt, const char *running)
{
	const struct {
		const char *list;
		bool before, after;
	} lists[] = {{"changed", true, true}, {"new", false, true}, {"removed", true, false}};
	json_t *entry;
	size_t i;

	for (size_t k = 0; k < sizeof(lists) / sizeof(*lists); k++)
		json_array_foreach(json_object_get(found, lists[k].list), i, entry)
		{
			const char *file = kb_str(entry, "file"), *symbol = kb_str(entry, "symbol"),
				   *was = *kb_str(entry, "original") ? kb_str(entry, "original") : symbol;

			kb_put_listing(
			    entry, lists[k].before ? kb_unit_listing(d, d->t->original_units, file, was, false) : NULL,
			    lists[k].after ? kb_unit_listing(d, d->t->patched_units, file, symbol, true) : NULL);
		}
	json_array_foreach(json_object_get(found, "refused"), i, entry) kb_review_unequal(d, entry, rebuilt, running);
}

json_t *kb_module_size(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf *elf = fd >= 0 ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
	uint64_t text = 0, rodata = 0, data = 0;
	Elf_Scn *scn = NULL;
	struct stat st = {0};
	GElf_Shdr sh;

	while (elf && (scn = elf_nextscn(elf, scn)))
		if (gelf_getshdr(scn, &sh) && sh.sh_flags & SHF_ALLOC)
			*(sh.sh_flags & SHF_EXECINSTR ? &text
			  : sh.sh_flags & SHF_WRITE   ? &data
						      : &rodata) += sh.sh_size;
	if (fd >= 0)
		fstat(fd, &st);
	elf_end(elf);
	if (fd >= 0)
		close(fd);
	return json_pack("{s:I, s:I, s:I, s:I}", "file", (json_int_t)st.st_size, "text", (json_int_t)text, "rodata",
			 (json_int_t)rodata, "data", (json_int_t)data);
}
