/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which compiler made a unit of a program, and with which options, as its debug information says (DW_AT_producer): gcc
 * writes its options there, clang does not by default.
 *
 * A unit of the program that runs and one that is compiled here are the same source if the path of one ends in the
 * path that the other has within its tree: the program may have been built anywhere.
 */
#include "klp-build.h"
#include "dwarf-unit.h"

#include <ctype.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KB_MAX_COMMENT (1u << 20)

/* "Debian clang version 14.0.6", "GNU C17 12.2.0 -O2 ...", "GCC: (Debian 12.2.0-14) 12.2.0" (.comment) */
bool kb_parse_compiler(const char *producer, struct kb_compiler *c)
{
	const char *p = strstr(producer, "clang version ");
	int depth = 0;

	c->family = p ? "clang" : "gcc";
	if (p) {
		p += strlen("clang version ");
	} else if (!strncmp(producer, "GCC: (", 6)) {
		for (p = producer + 5; *p; p++) {
			depth += (*p == '(') - (*p == ')');
			if (!depth)
				break;
		}
		p += *p == ')';
		p += *p == ' ';
	} else if (!strncmp(producer, "GNU C", 5)) {
		p = strchr(producer + 5, ' ');
		p = p ? p + 1 : "";
	} else {
		return false;
	}
	if (!isdigit((unsigned char)*p))
		return false;
	c->major = strtoul(p, NULL, 10);
	snprintf(c->name, sizeof(c->name), "%s %.*s", c->family, (int)strspn(p, "0123456789."), p);
	return true;
}

bool kb_same_compiler(const struct kb_compiler *a, const struct kb_compiler *b)
{
	return !strcmp(a->family, b->family) && a->major == b->major;
}

/* "/a/./b/../c" is "/a/c"; in place. Links are not looked at: the path need not be of this machine. */
static void kb_simplify(char *path)
{
	char *out = path, *p = path;

	while (*p) {
		size_t n = strcspn(p, "/");

		if (n == 1 && *p == '.') {
			;
		} else if (n == 2 && p[0] == '.' && p[1] == '.' && out > path + 1) {
			for (out--; out > path && out[-1] != '/'; out--)
				;
		} else {
			memmove(out, p, n);
			out += n;
			if (p[n] && (out == path || out[-1] != '/'))
				*out++ = '/';
		}
		p += n;
		p += *p == '/';
	}
	*out = 0;
}

static void kb_add_producer(void *ctx, Dwarf_Debug dbg, Dwarf_Die cu)
{
	char *name = kb_dwarf_name(dbg, cu), *dir = kb_dwarf_string(dbg, cu, DW_AT_comp_dir), *path;
	char *producer = kb_dwarf_string(dbg, cu, DW_AT_producer);

	if (name && producer) {
		path = *name == '/' || !dir ? kb_format("%s", name) : kb_format("%s/%s", dir, name);
		kb_simplify(path);
		json_array_append_new(ctx, json_pack("{s:o, s:o}", "path", json_stringn_nocheck(path, strlen(path)),
						     "producer", json_stringn_nocheck(producer, strlen(producer))));
		free(path);
	}
	free(dir);
	free(producer);
}

json_t *kb_producers(const char *path)
{
	json_t *out = json_array();

	kb_dwarf_each_unit(path, kb_add_producer, out);
	return out;
}

static const char *kb_path_of(const json_t *unit)
{
	const char *path = json_string_value(json_object_get(unit, "path"));

	return path ? path : "";
}

const char *kb_producer_find(const json_t *producers, const char *unit)
{
	const json_t *best = NULL, *e;
	size_t n = strlen(unit);

	for (size_t i = 0; i < json_array_size(producers); i++) {
		const char *path;
		size_t length;

		e = json_array_get(producers, i);
		path = kb_path_of(e);
		length = strlen(path);
		if (length < n || strcmp(path + length - n, unit) ||
		    (length > n && *unit != '/' && path[length - n - 1] != '/'))
			continue;
		/* lib/a.c ends in a.c, too: the tree's own is the one with the shortest way to it. */
		if (!best || length < strlen(kb_path_of(best)))
			best = e;
	}
	return best ? json_string_value(json_object_get(best, "producer")) : NULL;
}

char *kb_object_comment(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf_Scn *scn = NULL;
	char *found = NULL;
	size_t strings;
	Elf *elf;

	if (fd < 0)
		return NULL;
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	if (elf && elf_kind(elf) == ELF_K_ELF && !elf_getshdrstrndx(elf, &strings))
		while (!found && (scn = elf_nextscn(elf, scn))) {
			GElf_Shdr sh;
			const char *name = gelf_getshdr(scn, &sh) ? elf_strptr(elf, strings, sh.sh_name) : NULL;
			Elf_Data *d = name && !strcmp(name, ".comment") ? elf_getdata(scn, NULL) : NULL;
			const char *text = d ? d->d_buf : NULL;
			size_t skip = 0;

			if (!text || !d->d_size || d->d_size > KB_MAX_COMMENT || text[d->d_size - 1])
				continue;
			while (skip < d->d_size - 1 && !text[skip])
				skip++;
			found = kb_format("%s", text + skip);
		}
	elf_end(elf);
	close(fd);
	return found;
}

/*
 * gcc's -fipa-ra lets a caller keep values in registers that a function of the same unit happens not to use. It is off
 * in a unit that has -fpatchable-function-entry on its command line, but not in one where only the attribute makes
 * functions patchable (hazard H6). The last of -fipa-ra and -fno-ipa-ra counts.
 */
void kb_ipa_ra_option(const char *word, size_t length, bool *patchable, bool *off)
{
	static const char entry[] = "-fpatchable-function-entry=";

	if (length >= sizeof(entry) - 1 && !memcmp(word, entry, sizeof(entry) - 1))
		*patchable = true;
	else if (length == strlen("-fno-ipa-ra") && !memcmp(word, "-fno-ipa-ra", length))
		*off = true;
	else if (length == strlen("-fipa-ra") && !memcmp(word, "-fipa-ra", length))
		*off = false;
}

bool kb_producer_ipa_ra(const char *producer)
{
	bool patchable = false, off = false, options = false;

	if (strncmp(producer, "GNU C", 5))
		return false;
	for (const char *p = producer; *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");

		options |= n && *p == '-';
		kb_ipa_ra_option(p, n, &patchable, &off);
		p += n;
	}
	/* -gno-record-gcc-switches: nothing is known */
	return options && !patchable && !off;
}
