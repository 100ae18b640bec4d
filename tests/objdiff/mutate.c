/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariant B1 by mutation: an object file that is changed in one place of what ends up in the running program - a byte
 * of an allocated section, a relocation that applies to one, a symbol that such a relocation refers to, an exported
 * symbol - is compared with itself as it was. The comparison must name the change or refuse it. "No change" is a lost
 * change, and fails.
 *
 * What is not mutated, because no program can tell: bytes that a relocation overwrites, the padding between strings,
 * constants that nothing refers to, and the sections of ignored_sections below, which is klp-build's list once more: it
 * must not grow unnoticed.
 *
 * usage: mutate COUNT SEED OBJECT.o...
 */
#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/klp-build/objdiff/objdiff.h"

#define MAX_PLACES 4000000u

static const char *const ignored_sections[] = {
    ".note.gnu.property", ".eh_frame",     "__patchable_function_entries",
    ".note.stapsdt",      ".stapsdt.base", ".llvm_addrsig",
};

enum what {
	BYTE,
	REL_ADDEND,
	REL_TYPE,
	REL_SYMBOL,
	REL_OFFSET,
	SYM_VALUE,
	SYM_SECTION,
	SYM_NAME,
	SYM_BIND,
	SYM_VISIBILITY,
	KINDS
};
static const char *const kind_name[KINDS] = {"byte",
					     "addend of a relocation",
					     "type of a relocation",
					     "symbol of a relocation",
					     "offset of a relocation",
					     "value of a symbol",
					     "section of a symbol",
					     "name of a symbol",
					     "binding of a symbol",
					     "visibility of a symbol"};

struct place {
	enum what what;
	uint64_t off; /* in the file: the byte, the Elf64_Rela or the Elf64_Sym */
	uint32_t section;
};

struct object {
	const char *path;
	uint8_t *bytes;
	size_t len;
	const Elf64_Ehdr *eh;
	const Elf64_Shdr *sh, *symtab;
	const char *names, *symbol_names;
	struct place *place;
	size_t count;
};

static unsigned long long tried[KINDS], changed[KINDS], refused[KINDS], failed[KINDS], lost[KINDS];
static uint64_t state;

static uint64_t rnd(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static void die(const char *path, const char *why)
{
	fprintf(stderr, "%s: %s\n", path, why);
	exit(2);
}

static bool is_ignored(const struct object *o, const Elf64_Shdr *s)
{
	const char *name = o->names + s->sh_name;

	if (!(s->sh_flags & SHF_ALLOC) || s->sh_type == SHT_GROUP)
		return true;
	for (size_t i = 0; i < sizeof(ignored_sections) / sizeof(*ignored_sections); i++)
		if (!strcmp(name, ignored_sections[i]))
			return true;
	return false;
}

static void add(struct object *o, enum what what, uint64_t off, uint32_t section)
{
	if (o->count == MAX_PLACES)
		die(o->path, "too large");
	o->place[o->count++] = (struct place){what, off, section};
}

/* Bytes that the link overwrites whatever they are. In an instruction of aarch64 that is only a part of the bits. */
static uint64_t covered_by(const struct object *o, uint32_t type)
{
	if (o->eh->e_machine == EM_AARCH64)
		return type == R_AARCH64_ABS64 || type == R_AARCH64_PREL64   ? 8
		       : type == R_AARCH64_ABS32 || type == R_AARCH64_PREL32 ? 4
									     : 0;
	if (o->eh->e_machine == EM_RISCV) /* ADD and SUB keep what is there */
		return type == R_RISCV_64 ? 8 : type == R_RISCV_32 || type == R_RISCV_32_PCREL ? 4 : 0;
	return type == R_X86_64_64 || type == R_X86_64_PC64 || type == R_X86_64_GOTOFF64 ? 8 : 4;
}

static void cover(const struct object *o, const Elf64_Shdr *rela, uint8_t *covered, uint64_t size)
{
	const Elf64_Rela *r = (const Elf64_Rela *)(const void *)(o->bytes + rela->sh_offset);

	for (size_t i = 0; i < rela->sh_size / sizeof(*r); i++) {
		uint64_t width = covered_by(o, ELF64_R_TYPE(r[i].r_info));

		for (uint64_t b = r[i].r_offset; b < r[i].r_offset + width && b < size; b++)
			covered[b] = 1;
	}
}

/* Compilers leave constants behind that no code refers to any more, and a mergeable section has no name. */
static bool is_unused(const struct object *o, uint32_t section)
{
	if (!(o->sh[section].sh_flags & SHF_MERGE))
		return false;
	for (uint32_t k = 1; k < o->eh->e_shnum; k++) {
		const Elf64_Shdr *rela = &o->sh[k];

		if (rela->sh_type != SHT_RELA || is_ignored(o, &o->sh[rela->sh_info]))
			continue;
		for (uint64_t r = 0; r + sizeof(Elf64_Rela) <= rela->sh_size; r += sizeof(Elf64_Rela)) {
			Elf64_Rela e;
			Elf64_Sym y;

			memcpy(&e, o->bytes + rela->sh_offset + r, sizeof(e));
			memcpy(&y, o->bytes + o->symtab->sh_offset + ELF64_R_SYM(e.r_info) * sizeof(y), sizeof(y));
			if (y.st_shndx == section)
				return false;
		}
	}
	return true;
}

/* Between two strings, to align the second: nobody refers to it. */
static bool is_padding(const struct object *o, const Elf64_Shdr *s, uint64_t at)
{
	const uint8_t *p = o->bytes + s->sh_offset;

	return (s->sh_flags & SHF_STRINGS) && s->sh_addralign > s->sh_entsize && at && !p[at] && !p[at - 1];
}

static void find_places(struct object *o)
{
	uint8_t *seen;
	uint32_t symbols;

	o->place = calloc(MAX_PLACES, sizeof(*o->place));
	for (uint32_t i = 1; i < o->eh->e_shnum; i++)
		if (o->sh[i].sh_type == SHT_SYMTAB)
			o->symtab = &o->sh[i];
	if (!o->place || !o->symtab)
		die(o->path, "no symbol table");
	o->symbol_names = (const char *)o->bytes + o->sh[o->symtab->sh_link].sh_offset;
	symbols = (uint32_t)(o->symtab->sh_size / sizeof(Elf64_Sym));
	seen = calloc(symbols, 1);
	for (uint32_t i = 1; i < o->eh->e_shnum; i++) {
		const Elf64_Shdr *s = &o->sh[i];
		uint8_t *covered;

		if (is_ignored(o, s) || s->sh_type == SHT_NOBITS || is_unused(o, i))
			continue;
		covered = calloc(s->sh_size + 1, 1);
		for (uint32_t k = 1; k < o->eh->e_shnum; k++) {
			const Elf64_Shdr *rela = &o->sh[k];

			if (rela->sh_type != SHT_RELA || rela->sh_info != i)
				continue;
			cover(o, rela, covered, s->sh_size);
			for (uint64_t r = 0; r + sizeof(Elf64_Rela) <= rela->sh_size; r += sizeof(Elf64_Rela)) {
				Elf64_Rela e;

				memcpy(&e, o->bytes + rela->sh_offset + r, sizeof(e));
				for (enum what w = REL_ADDEND; w <= REL_OFFSET; w++)
					add(o, w, rela->sh_offset + r, i);
				if (ELF64_R_SYM(e.r_info) < symbols)
					seen[ELF64_R_SYM(e.r_info)] = 1;
			}
		}
		for (uint64_t b = 0; b < s->sh_size; b++)
			if (!covered[b] && !is_padding(o, s, b))
				add(o, BYTE, s->sh_offset + b, i);
		free(covered);
	}
	for (uint32_t i = 1; i < symbols; i++) {
		uint64_t off = o->symtab->sh_offset + i * sizeof(Elf64_Sym);
		Elf64_Sym y;

		memcpy(&y, o->bytes + off, sizeof(y));
		if (!seen[i] && (ELF64_ST_BIND(y.st_info) == STB_LOCAL || y.st_shndx == SHN_UNDEF))
			continue;
		if (y.st_shndx < o->eh->e_shnum && y.st_shndx && is_ignored(o, &o->sh[y.st_shndx]))
			continue;
		add(o, SYM_SECTION, off, y.st_shndx);
		if (ELF64_ST_TYPE(y.st_info) == STT_SECTION)
			continue;
		if (y.st_shndx != SHN_UNDEF)
			add(o, SYM_VALUE, off, y.st_shndx);
		/* The name of a local symbol is for people. */
		if (ELF64_ST_BIND(y.st_info) != STB_LOCAL) {
			add(o, SYM_NAME, off, y.st_shndx);
			add(o, SYM_BIND, off, y.st_shndx);
			add(o, SYM_VISIBILITY, off, y.st_shndx);
		}
	}
	free(seen);
}

static void load(struct object *o, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	o->path = path;
	if (fd < 0 || fstat(fd, &st))
		die(path, "cannot be read");
	o->len = (size_t)st.st_size;
	o->bytes = malloc(o->len);
	if (!o->bytes || read(fd, o->bytes, o->len) != (ssize_t)o->len)
		die(path, "cannot be read");
	close(fd);
	o->eh = (const Elf64_Ehdr *)(const void *)o->bytes;
	if (o->len < sizeof(*o->eh) || o->eh->e_type != ET_REL ||
	    (o->eh->e_machine != EM_X86_64 && o->eh->e_machine != EM_AARCH64 && o->eh->e_machine != EM_RISCV))
		die(path, "is no object of a machine that is known here");
	o->sh = (const Elf64_Shdr *)(const void *)(o->bytes + o->eh->e_shoff);
	o->names = (const char *)o->bytes + o->sh[o->eh->e_shstrndx].sh_offset;
	find_places(o);
}

static uint32_t other_type(const struct object *o, uint32_t type)
{
	if (o->eh->e_machine == EM_AARCH64)
		return type == R_AARCH64_ADD_ABS_LO12_NC ? R_AARCH64_LDST8_ABS_LO12_NC : R_AARCH64_ADD_ABS_LO12_NC;
	/* to one that klp-build might pass over */
	if (o->eh->e_machine == EM_RISCV)
		return type == R_RISCV_RELAX ? R_RISCV_NONE : R_RISCV_RELAX;
	return type == R_X86_64_32S ? R_X86_64_32 : R_X86_64_32S;
}

/*
 * Whether the same string is at both places: what fills up the section between strings that are aligned is empty
 * strings, too.
 */
static bool same_text(const struct object *o, uint32_t section, uint64_t a, uint64_t b)
{
	const Elf64_Shdr *strings = &o->sh[section];
	const char *text;

	if (section == SHN_UNDEF || section >= o->eh->e_shnum ||
	    (strings->sh_flags & (SHF_MERGE | SHF_STRINGS)) != (SHF_MERGE | SHF_STRINGS) || strings->sh_entsize != 1 ||
	    a >= strings->sh_size || b >= strings->sh_size)
		return false;
	text = (const char *)o->bytes + strings->sh_offset;
	return !strcmp(text + a, text + b);
}

/* With another addend, of a relocation. Only on aarch64, whose addends begin where the string does. */
static bool same_string(const struct object *o, const Elf64_Rela *r, int64_t addend)
{
	Elf64_Sym y;

	memcpy(&y, o->bytes + o->symtab->sh_offset + ELF64_R_SYM(r->r_info) * sizeof(y), sizeof(y));
	return o->eh->e_machine == EM_AARCH64 &&
	       same_text(o, y.st_shndx, y.st_value + (uint64_t)r->r_addend, y.st_value + (uint64_t)addend);
}

/* Changes the place in `bytes`; false if there is no other value for it. */
static bool mutate(const struct object *o, const struct place *p, uint8_t *bytes)
{
	Elf64_Rela r;
	Elf64_Sym y;
	const char *name;
	uint64_t value;
	uint32_t symbols = (uint32_t)(o->symtab->sh_size / sizeof(Elf64_Sym)), other;

	switch (p->what) {
	case BYTE:
		bytes[p->off] = (uint8_t)(bytes[p->off] ^ 1u << rnd(8));
		return true;
	case REL_ADDEND:
	case REL_TYPE:
	case REL_SYMBOL:
	case REL_OFFSET:
		memcpy(&r, bytes + p->off, sizeof(r));
		if (p->what == REL_ADDEND) {
			int64_t addend = r.r_addend + (rnd(2) ? 1 : -8);

			if (same_string(o, &r, addend))
				return false;
			r.r_addend = addend;
		} else if (p->what == REL_TYPE) {
			/* another one of the same width */
			r.r_info = ELF64_R_INFO(ELF64_R_SYM(r.r_info), other_type(o, ELF64_R_TYPE(r.r_info)));
		} else if (p->what == REL_OFFSET) {
			r.r_offset += r.r_offset ? (uint64_t)-1 : 1;
		} else {
			Elf64_Sym a, b;

			other = (uint32_t)rnd(symbols);
			if (other == ELF64_R_SYM(r.r_info))
				return false;
			memcpy(&a, bytes + o->symtab->sh_offset + ELF64_R_SYM(r.r_info) * sizeof(a), sizeof(a));
			memcpy(&b, bytes + o->symtab->sh_offset + other * sizeof(b), sizeof(b));
			/* another name of the same thing, or of a string that is the same: a kernel's symbols have
			 * their namespaces, mostly none, so */
			if (a.st_shndx == b.st_shndx && a.st_shndx != SHN_UNDEF &&
			    (a.st_value == b.st_value || same_text(o, a.st_shndx, a.st_value + (uint64_t)r.r_addend,
								   b.st_value + (uint64_t)r.r_addend)))
				return false;
			r.r_info = ELF64_R_INFO(other, ELF64_R_TYPE(r.r_info));
		}
		memcpy(bytes + p->off, &r, sizeof(r));
		return true;
	default:
		break;
	}
	memcpy(&y, bytes + p->off, sizeof(y));
	switch (p->what) {
	case SYM_VALUE:
		value = y.st_value + 1 + rnd(16);
		/* compilers may label every string, the empty one at the end of each too */
		if (same_text(o, y.st_shndx, y.st_value, value))
			return false;
		y.st_value = value;
		break;
	case SYM_SECTION:
		other = 1 + (uint32_t)rnd(o->eh->e_shnum - 1u);
		if (other == y.st_shndx || !(o->sh[other].sh_flags & SHF_ALLOC))
			return false;
		y.st_shndx = (uint16_t)other;
		break;
	case SYM_NAME:
		/* one letter less at its front: another name, of another thing */
		name = o->symbol_names + y.st_name;
		if (strlen(name) < 2)
			return false;
		y.st_name++;
		break;
	case SYM_BIND:
		y.st_info = (uint8_t)ELF64_ST_INFO(ELF64_ST_BIND(y.st_info) == STB_WEAK ? STB_GLOBAL : STB_WEAK,
						   ELF64_ST_TYPE(y.st_info));
		break;
	case SYM_VISIBILITY:
		y.st_other = (uint8_t)(y.st_other ^ STV_HIDDEN);
		break;
	default:
		return false;
	}
	memcpy(bytes + p->off, &y, sizeof(y));
	return true;
}

static void try(const struct object *o, const struct place *p, uint8_t *bytes, int fd, const char *copy)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *report = NULL;
	int rc;

	memcpy(bytes, o->bytes, o->len);
	if (!mutate(o, p, bytes))
		return;
	if (ftruncate(fd, 0) || pwrite(fd, bytes, o->len, 0) != (ssize_t)o->len)
		die(copy, "cannot be written");
	rc = klp_objdiff_compare(o->path, copy, &report, &e);
	tried[p->what]++;
	switch (rc) {
	case 0:
		changed[p->what]++;
		break;
	case KLP_OBJDIFF_REFUSED:
		refused[p->what]++;
		break;
	case KLP_OBJDIFF_NO_CHANGE:
		lost[p->what]++;
		if (lost[p->what] <= 8)
			printf("LOST: %s: %s at file offset %#llx, section %u %s\n", o->path, kind_name[p->what],
			       (unsigned long long)p->off, p->section,
			       p->section < o->eh->e_shnum ? o->names + o->sh[p->section].sh_name : "");
		break;
	default: /* it makes no sense any more: said so */
		failed[p->what]++;
		if (!e.text[0])
			die(o->path, "the comparison failed without a sentence");
	}
	json_decref(report);
}

int main(int argc, char **argv)
{
	unsigned long long count, all = 0, missing = 0;
	struct object *o;
	size_t objects, largest = 0;
	uint8_t *bytes;
	char copy[64];
	int fd;

	if (argc < 4)
		return 2;
	count = strtoull(argv[1], NULL, 10);
	state = strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15ull + 1;
	objects = (size_t)argc - 3;
	o = calloc(objects, sizeof(*o));
	fd = memfd_create("mutated", MFD_CLOEXEC);
	if (!o || fd < 0)
		die("mutate", "no memory");
	snprintf(copy, sizeof(copy), "/proc/self/fd/%d", fd);
	for (size_t i = 0; i < objects; i++) {
		load(&o[i], argv[3 + i]);
		largest = o[i].len > largest ? o[i].len : largest;
	}
	bytes = malloc(largest);
	if (!bytes)
		die("mutate", "no memory");
	while (all < count) {
		const struct object *one = &o[rnd(objects)];
		enum what what = (enum what)rnd(KINDS);

		/* every kind as often, however many bytes there are */
		for (unsigned t = 0; one->count && t < 1000; t++) {
			const struct place *p = &one->place[rnd(one->count)];

			if (p->what == what || t == 999) {
				try(one, p, bytes, fd, copy);
				break;
			}
		}
		all = 0;
		for (int k = 0; k < KINDS; k++)
			all += tried[k];
	}
	printf("%-26s %8s %8s %8s %8s %8s\n", "mutation of", "tried", "changed", "refused", "no ELF", "lost");
	for (int k = 0; k < KINDS; k++) {
		printf("%-26s %8llu %8llu %8llu %8llu %8llu\n", kind_name[k], tried[k], changed[k], refused[k],
		       failed[k], lost[k]);
		missing += lost[k];
	}
	printf("%llu mutations of %zu objects, %llu lost\n", all, objects, missing);
	return missing ? 1 : 0;
}
