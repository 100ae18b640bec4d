/* SPDX-License-Identifier: Apache-2.0 */
#include "listing.h"

#include <ctype.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "klp-build.h"

#define KB_LISTING_FILE (64u << 20)

static unsigned kb_machine(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf *elf = fd >= 0 ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
	GElf_Ehdr eh;
	unsigned machine = elf && gelf_getehdr(elf, &eh) ? eh.e_machine : EM_NONE;

	elf_end(elf);
	if (fd >= 0)
		close(fd);
	return machine;
}

/* Of binutils, by Debian's names: the machine's own first, for a plain objdump may know one machine only. */
static const char *const *kb_disassemblers(unsigned machine)
{
	static const char *const x86_64[] = {"x86_64-linux-gnu-objdump", "objdump", "llvm-objdump", NULL};
	static const char *const aarch64[] = {"aarch64-linux-gnu-objdump", "objdump", "llvm-objdump", NULL};
	static const char *const riscv64[] = {"riscv64-linux-gnu-objdump", "objdump", "llvm-objdump", NULL};
	static const char *const none[] = {NULL};

	return machine == EM_X86_64 ? x86_64 : machine == EM_AARCH64 ? aarch64 : machine == EM_RISCV ? riscv64 : none;
}

/* "   1b:\tjmp    30 <f+0x30>\t1c: R_X86_64_PC32\tg-0x4" */
static bool kb_is_instruction(const char *line, unsigned long long *at, const char **code)
{
	char *end;

	while (*line == ' ')
		line++;
	if (!isxdigit((unsigned char)*line))
		return false;
	*at = strtoull(line, &end, 16);
	if (*end != ':' || end[1] != '\t')
		return false;
	*code = end + 2;
	return true;
}

/* "/tree/server.c:12 (discriminator 3)": the length of the path, 0 if it is none. */
static size_t kb_is_place(const char *line, unsigned long *number)
{
	const char *colon = strrchr(line, ':'), *p;

	p = strstr(line, " (discriminator ");
	if (p)
		for (colon = p; colon > line && *colon != ':'; colon--)
			;
	if (!colon || colon == line || !isdigit((unsigned char)colon[1]))
		return 0;
	*number = strtoul(colon + 1, NULL, 10);
	return (size_t)(colon - line);
}

/* "1b <f+0x1b>" in f itself is "+1b"; elsewhere the address stays, and before a relocation its own place goes. */
static const char *kb_word(const char *text, const char *name, char **to)
{
	size_t digits = strspn(text, "0123456789abcdef"), n = strlen(name);
	const char *label = text + digits + 2;

	if (digits && text[digits] == ':' && (text[digits + 1] == ' ' || text[digits + 1] == '\t'))
		return text + digits + 1;
	if (!digits || text[digits] != ' ' || text[digits + 1] != '<' || strncmp(label, name, n) ||
	    (strncmp(label + n, "+0x", 3) && label[n] != '>'))
		return text;
	label += n;
	*(*to)++ = '+';
	if (*label == '>')
		*(*to)++ = '0';
	for (label += *label == '+' ? 3 : 0; isxdigit((unsigned char)*label); label++)
		*(*to)++ = *label;
	return *label == '>' ? label + 1 : label;
}

/* Words apart by one blank, without objdump's own ends of columns. */
static char *kb_code(const char *text, const char *name)
{
	char *code = kb_alloc(strlen(text) + 2), *to = code;

	while (*text) {
		if (*text == ' ' || *text == '\t') {
			if (to > code && to[-1] != ' ')
				*to++ = ' ';
			text++;
			continue;
		}
		text = to == code || to[-1] == ' ' ? kb_word(text, name, &to) : text;
		while (*text && *text != ' ' && *text != '\t')
			*to++ = *text++;
	}
	while (to > code && to[-1] == ' ')
		to--;
	*to = 0;
	return code;
}

/* JSON is UTF-8; sources need not be. */
static json_t *kb_json_text(char *text)
{
	json_t *s = text ? json_string(text) : NULL;

	if (s || !text)
		return s;
	for (char *p = text; *p; p++)
		if (*p & 0x80)
			*p = '?';
	return json_string(text);
}

static void kb_add_place(json_t *lines, const char *text, size_t length, unsigned long number, kb_source_line *line,
			 void *ctx)
{
	char *path = kb_format("%.*s", (int)length, text), *source = line ? line(ctx, path, number) : NULL,
	     *place = kb_format("%s:%lu", kb_base(path), number);
	const json_t *last = json_array_get(lines, json_array_size(lines) - 1);
	const char *before = json_string_value(json_object_get(last, "source"));

	/* The same line in several columns, which nothing stands between. */
	if (!before || strcmp(before, place))
		json_array_append_new(
		    lines, json_pack("{s:o, s:o*}", "source", kb_json_text(place), "text", kb_json_text(source)));
	free(path);
	free(source);
	free(place);
}

/* Of the function that objdump calls `symbol`; anyway: of whatever is there. */
static json_t *kb_parse(char *text, const char *symbol, bool anyway, uint64_t start, kb_source_line *line, void *ctx)
{
	char *head = kb_format(" <%s>:", symbol), *save = NULL;
	json_t *lines = json_array();
	bool inside = anyway;

	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		unsigned long long at;
		unsigned long number;
		const char *code;
		size_t n;

		if (json_array_size(lines) >= KB_LISTING_LINES) {
			json_array_append_new(lines, json_pack("{s:s, s:s}", "source", "...", "text", "cut here"));
			break;
		}
		if (isxdigit((unsigned char)*l) && kb_ends_with(l, ">:")) {
			inside = anyway || kb_ends_with(l, head);
		} else if (inside && kb_is_instruction(l, &at, &code)) {
			char *words = kb_code(code, symbol);

			json_array_append_new(lines, json_pack("{s:I, s:o}", "at", (json_int_t)(at - start), "code",
							       kb_json_text(words)));
			free(words);
		} else if (inside && (n = kb_is_place(l, &number))) {
			kb_add_place(lines, l, n, number, line, ctx);
		}
	}
	free(head);
	if (json_array_size(lines))
		return lines;
	json_decref(lines);
	return NULL;
}

struct kb_stretch {
	uint64_t start, size;
	char *section;
};

/* Where a function is in an object or a linked file. The caller frees `section`. */
static bool kb_find_symbol(const char *path, const char *name, struct kb_stretch *at)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf *elf = fd >= 0 ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
	Elf_Scn *scn = NULL;
	bool found = false;
	size_t names = 0;

	if (elf)
		elf_getshdrstrndx(elf, &names);
	while (elf && !found && (scn = elf_nextscn(elf, scn))) {
		GElf_Shdr sh, own;
		Elf_Data *data;

		if (!gelf_getshdr(scn, &sh) || sh.sh_type != SHT_SYMTAB || !sh.sh_entsize ||
		    !(data = elf_getdata(scn, NULL)))
			continue;
		for (size_t i = 0; !found && i < data->d_size / sh.sh_entsize && i < INT32_MAX; i++) {
			const char *is, *section;
			GElf_Sym s;

			if (!gelf_getsym(data, (int)i, &s) || GELF_ST_TYPE(s.st_info) != STT_FUNC || !s.st_size ||
			    !(is = elf_strptr(elf, sh.sh_link, s.st_name)) || strcmp(is, name) ||
			    !gelf_getshdr(elf_getscn(elf, s.st_shndx), &own) ||
			    !(section = elf_strptr(elf, names, own.sh_name)))
				continue;
			*at = (struct kb_stretch){s.st_value, s.st_size, kb_format("%s", section)};
			found = true;
		}
	}
	elf_end(elf);
	if (fd >= 0)
		close(fd);
	return found;
}

/* The code at a place of a file; of all its sections, or of those of one name. The caller frees. */
static char *kb_disassemble(const char *file, const struct kb_stretch *at, const char *log)
{
	const char *const *tool = kb_disassemblers(kb_machine(file));
	char *from = kb_format("--start-address=0x%llx", (unsigned long long)at->start),
	     *to = kb_format("--stop-address=0x%llx", (unsigned long long)(at->start + at->size)),
	     *section = at->section ? kb_format("--section=%s", at->section) : NULL, *text = NULL;

	for (; *tool && !text; tool++) {
		char *argv[] = {(char *)(uintptr_t)*tool,
				(char[]){"-dlrz"},
				(char[]){"--wide"},
				(char[]){"--no-show-raw-insn"},
				from,
				to,
				(char *)(uintptr_t)file,
				section,
				NULL};

		if (!kb_run_quiet(argv, log))
			text = kb_read(log, KB_LISTING_FILE, NULL);
	}
	free(from);
	free(to);
	free(section);
	return text;
}

json_t *kb_listing(const char *file, const char *symbol, const char *log, kb_source_line *line, void *ctx)
{
	struct kb_stretch at;
	json_t *lines = NULL;
	char *text;

	if (!kb_find_symbol(file, symbol, &at))
		return NULL;
	text = kb_disassemble(file, &at, log);
	if (text)
		lines = kb_parse(text, symbol, false, at.start, line, ctx);
	free(text);
	if (!lines) { /* objdump calls it by another name that it has */
		text = kb_disassemble(file, &at, log);
		lines = text ? kb_parse(text, symbol, true, at.start, line, ctx) : NULL;
		free(text);
	}
	free(at.section);
	return lines;
}

json_t *kb_listing_range(const char *file, const char *symbol, uint64_t address, uint64_t size, const char *log)
{
	const struct kb_stretch at = {address, size, NULL};
	char *text = kb_disassemble(file, &at, log);
	json_t *lines = text ? kb_parse(text, symbol, true, address, NULL, NULL) : NULL;

	free(text);
	return lines;
}
