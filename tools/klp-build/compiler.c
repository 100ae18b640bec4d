/* SPDX-License-Identifier: Apache-2.0 */
/* What a compiler's or linker's command line means: only as much as recording it needs. */
#include "klp-build.h"

#include <ctype.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KB_MAX_WORDS 65536

/* The base name without a version (gcc-12) and the last part of a prefix (x86_64-linux-gnu-gcc). */
static void kb_tool_name(const char *base, char out[32])
{
	size_t n = strlen(base);
	const char *start;

	while (n && (isdigit((unsigned char)base[n - 1]) || base[n - 1] == '.'))
		n--;
	if (n && n < strlen(base) && base[n - 1] == '-')
		n--;
	else
		n = strlen(base);
	for (start = base + n; start > base && start[-1] != '-'; start--)
		;
	snprintf(out, 32, "%.*s", (int)(n - (size_t)(start - base)), start);
}

bool kb_is_linker(const char *base)
{
	static const char *const names[] = {"ld", "ld.bfd", "ld.gold", "ld.lld", "ld.mold", "gold", "lld", "mold"};
	char name[32];

	kb_tool_name(base, name);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

bool kb_is_tool(const char *base)
{
	static const char *const names[] = {"gcc", "cc", "clang", "c89", "c99", "c11", "g++", "c++", "clang++"};
	char name[32];

	if (kb_is_linker(base))
		return true;
	kb_tool_name(base, name);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

bool kb_is_assembly(const char *arg)
{
	return kb_ends_with(arg, ".s") || kb_ends_with(arg, ".S") || kb_ends_with(arg, ".sx");
}

bool kb_is_text(const char *arg)
{
	return kb_ends_with(arg, ".s") || kb_ends_with(arg, ".i") || kb_ends_with(arg, ".ii");
}

bool kb_is_source(const char *arg)
{
	static const char *const ends[] = {".c",   ".i", ".ii", ".cc", ".cp", ".cxx", ".cpp", ".CPP",
					   ".c++", ".C", ".m",  ".mm", ".s",  ".S",   ".sx"};

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (kb_ends_with(arg, ends[i]))
			return true;
	return false;
}

size_t kb_option_words(const char *arg)
{
	static const char *const two[] = {
	    "-o",
	    "-I",
	    "-D",
	    "-U",
	    "-L",
	    "-l",
	    "-include",
	    "-imacros",
	    "-isystem",
	    "-iquote",
	    "-idirafter",
	    "-iprefix",
	    "-iwithprefix",
	    "-MF",
	    "-MT",
	    "-MQ",
	    "-x",
	    "-T",
	    "-u",
	    "-z",
	    "-Xlinker",
	    "-Xassembler",
	    "-Xclang",
	    "-Xpreprocessor",
	    "-target",
	    "--param",
	    "-B",
	    "-e",
	    "-A",
	    "-G",
	    "-aux-info",
	    "-isysroot",
	    "--sysroot",
	    "-wrapper",
	    "-dumpbase",
	    "-dumpdir",
	    "-dumpbase-ext",
	    "-iwithprefixbefore",
	    "-mllvm",
	    "-rpath",
	    "-soname",
	    "-h",
	    "-m",
	    "-dynamic-linker",
	    "-Map",
	    "-plugin",
	    "--version-script",
	    "-rpath-link",
	    "-arch",
	};

	for (size_t i = 0; i < sizeof(two) / sizeof(*two); i++)
		if (!strcmp(arg, two[i]))
			return 2;
	return 1;
}

static void kb_add_word(struct kb_command *c, const char *text, size_t length)
{
	if (c->argc >= KB_MAX_WORDS)
		return;
	c->argv[c->argc++] = kb_format("%.*s", (int)length, text);
}

static void kb_expand(struct kb_command *c, const char *arg, int depth)
{
	char *file, *p, *word;
	size_t n;

	file = *arg == '@' && depth < KB_MAX_NESTING ? kb_read(arg + 1, KB_MAX_RECORD, NULL) : NULL;
	if (!file) {
		kb_add_word(c, arg, strlen(arg));
		return;
	}
	word = kb_alloc(strlen(file) + 1);
	for (p = file; *p;) {
		char quote = 0;

		while (isspace((unsigned char)*p))
			p++;
		if (!*p)
			break;
		for (n = 0; *p && (quote || !isspace((unsigned char)*p)); p++) {
			if (*p == '\\' && p[1] && quote != '\'')
				word[n++] = *++p;
			else if (quote ? *p == quote : *p == '"' || *p == '\'')
				quote = quote ? 0 : *p;
			else
				word[n++] = *p;
		}
		word[n] = 0;
		kb_expand(c, word, depth + 1);
	}
	free(word);
	free(file);
}

/* Is it something that a link consists of? */
static void kb_add_input(struct kb_command *c, const char *path)
{
	int kind = kb_file_kind(path);

	if ((kind == ET_REL || kind == -1) && c->input_count < KB_MAX_WORDS)
		c->input[c->input_count++] = path;
}

static void kb_add_library(struct kb_command *c, const char *name, bool archives_only)
{
	for (size_t i = 1; i < c->argc; i++) {
		const char *dir = NULL;
		char *path;

		if (!strcmp(c->argv[i], "-L") && i + 1 < c->argc)
			dir = c->argv[i + 1];
		else if (!strncmp(c->argv[i], "-L", 2) && c->argv[i][2])
			dir = c->argv[i] + 2;
		if (!dir)
			continue;
		path = *name == ':' ? kb_format("%s/%s", dir, name + 1) : kb_format("%s/lib%s.so", dir, name);
		if (*name != ':') {
			/* A shared library of that name in the same directory wins. */
			if (!archives_only && kb_file_kind(path)) {
				free(path);
				return;
			}
			free(path);
			path = kb_format("%s/lib%s.a", dir, name);
		}
		if (kb_file_kind(path)) {
			kb_add_input(c, path);
			return;
		}
		free(path);
	}
}

/* An argument that the compiler hands to the linker. */
static void kb_parse_handed(struct kb_command *c, const char *word, bool *archives_only, int depth)
{
	struct kb_command file = {0};

	if (!strcmp(word, "-Bstatic") || !strcmp(word, "-static") || !strcmp(word, "-dn"))
		*archives_only = true;
	else if (!strcmp(word, "-Bdynamic") || !strcmp(word, "-dy"))
		*archives_only = false;
	else if (!strncmp(word, "-l", 2) && word[2])
		kb_add_library(c, word + 2, *archives_only);
	else if (*word == '@' && depth < KB_MAX_NESTING) {
		file.argv = kb_alloc((KB_MAX_WORDS + 1) * sizeof(*file.argv));
		kb_expand(&file, word, depth);
		for (size_t i = 0; i < file.argc; i++)
			if (*file.argv[i] != '@')
				kb_parse_handed(c, file.argv[i], archives_only, depth + 1);
		free(file.argv);
	} else if (*word != '-')
		kb_add_input(c, word);
}

static void kb_parse_wl(struct kb_command *c, const char *list, bool *archives_only)
{
	while (*list) {
		size_t n = strcspn(list, ",");

		kb_parse_handed(c, kb_format("%.*s", (int)n, list), archives_only, 0);
		list += n + (list[n] == ',');
	}
}

void kb_parse_command(struct kb_command *c, int argc, char **argv, const char *root)
{
	bool archives_only = false, other = false, compile = false, assembly = false, preprocess = false,
	     linker = kb_is_linker(kb_base(argv[0]));

	memset(c, 0, sizeof(*c));
	c->argv = kb_alloc((KB_MAX_WORDS + 1) * sizeof(*c->argv));
	c->source = kb_alloc(KB_MAX_WORDS * sizeof(*c->source));
	c->input = kb_alloc(KB_MAX_WORDS * sizeof(*c->input));
	for (int i = 0; i < argc; i++)
		kb_expand(c, argv[i], 0);

	for (size_t i = 1; i < c->argc; i++) {
		const char *a = c->argv[i], *next = i + 1 < c->argc ? c->argv[i + 1] : "";

		if (*a != '-' || !a[1]) {
			if (!linker && (c->lang || kb_is_source(a) || !strcmp(a, "-")))
				c->source[c->source_count++] = a;
			else
				kb_add_input(c, a);
			continue;
		}
		if (!strcmp(a, "-o"))
			c->output = next;
		else if (!strncmp(a, "-o", 2) && !linker)
			c->output = a + 2;
		else if (!strcmp(a, "-static") || !strcmp(a, "-Bstatic") || !strcmp(a, "-static-pie"))
			archives_only = true;
		else if (!strcmp(a, "-Bdynamic"))
			archives_only = false;
		else if (!strcmp(a, "-l"))
			kb_add_library(c, next, archives_only);
		else if (!strncmp(a, "-l", 2))
			kb_add_library(c, a + 2, archives_only);
		else if (!strncmp(a, "-Wl,", 4))
			kb_parse_wl(c, a + 4, &archives_only);
		else if (!strcmp(a, "-Xlinker"))
			kb_parse_handed(c, next, &archives_only, 0);
		else if (linker)
			;
		else if (!strcmp(a, "-c"))
			compile = true;
		else if (!strcmp(a, "-S"))
			assembly = true;
		else if (!strcmp(a, "-E"))
			preprocess = true;
		else if (!strcmp(a, "-M") || !strcmp(a, "-MM") || !strcmp(a, "-fsyntax-only") || !strcmp(a, "-v") ||
			 !strcmp(a, "-###") || !strncmp(a, "-print-", 7) || !strncmp(a, "--print-", 8) ||
			 !strncmp(a, "-dump", 5) || !strcmp(a, "--version"))
			other = true;
		else if (!strcmp(a, "-MD") || !strcmp(a, "-MMD")) {
			c->depends = true;
			c->depends_user |= !strcmp(a, "-MMD");
		} else if (!strcmp(a, "-MF"))
			c->depfile = next;
		else if (!strncmp(a, "-Wp,-MD,", 8) || !strncmp(a, "-Wp,-MMD,", 9)) {
			c->depends = true;
			c->depends_user |= a[6] == 'M';
			c->depfile = strchr(a + 5, ',') + 1;
			if (strchr(c->depfile, ','))
				c->depfile = kb_format("%.*s", (int)strcspn(c->depfile, ","), c->depfile);
		} else if (!strcmp(a, "-flto") || !strncmp(a, "-flto=", 6))
			c->lto = true;
		else if (!strcmp(a, "-fno-lto"))
			c->lto = false;
		else if (!strcmp(a, "-fdebug-types-section"))
			c->type_units = true;
		else if (!strcmp(a, "-fno-debug-types-section"))
			c->type_units = false;
		else if (!strncmp(a, "-fpatchable-function-entry", 26) || kb_ends_with(a, "ipa-ra"))
			kb_ipa_ra_option(a, strlen(a), &c->patchable, &c->no_ipa_ra);
		else if (!strcmp(a, "-x"))
			c->lang = strcmp(next, "none") ? next : NULL;
		else if (!strncmp(a, "-x", 2) && a[2])
			c->lang = strcmp(a + 2, "none") ? a + 2 : NULL;
		else if (!strcmp(a, "-isystem") && (*next != '/' || kb_is_below(next, root)))
			c->tree_isystem = true;
		i += kb_option_words(a) - 1;
	}
	if (other)
		c->kind = KB_OTHER;
	else if (preprocess) {
		c->kind = c->source_count ? KB_TEXT : KB_OTHER;
		c->to_stdout = !c->output || !strcmp(c->output, "-");
	} else if (assembly)
		c->kind = c->source_count ? KB_TEXT : KB_OTHER;
	else if (compile)
		c->kind = c->source_count ? KB_COMPILE : KB_OTHER;
	else
		c->kind = c->source_count || c->input_count ? KB_LINK : KB_OTHER;
}
