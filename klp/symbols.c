/* SPDX-License-Identifier: Apache-2.0 */
/* The files are hostile: libelf checks the places, the limits below the sizes. */
#include "klp/symbols.h"

#include <ctype.h>
#include <gelf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "klp/arming.h"
#include "klp/mapped_file.h"
#include "klp/transition.h"

#define KLP_SYMTAB_MAX (256u << 20) /* bytes of a symbol table */
#define KLP_SYMBOLS_BACK 64u        /* how many symbols below an address are asked whether they reach it */
#define KLP_VDSO_MAX (64u << 10)

struct klp_symbol {
	uint64_t addr, size; /* as in the file */
	const char *name;    /* libelf's */
	unsigned rank;       /* of several at one address the least is shown */
};

struct klp_symbol_file {
	bool asked;
	int fd;
	Elf *elf;
	void *image; /* of the vDSO, which has no file */
	struct klp_symbol *symbol;
	size_t count;
};

struct klp_symbols {
	size_t count;
	struct klp_symbol_file file[]; /* as the process's objects */
};

struct klp_symbols *klp_symbols_new(struct klp_session *s)
{
	struct klp_symbols *y = calloc(1, sizeof(*y) + s->p.object_count * sizeof(y->file[0]));

	if (!y)
		return NULL;
	y->count = s->p.object_count;
	for (size_t i = 0; i < y->count; i++)
		y->file[i].fd = -1;
	return y;
}

void klp_symbols_free(struct klp_symbols *y)
{
	for (size_t i = 0; y && i < y->count; i++) {
		free(y->file[i].symbol);
		elf_end(y->file[i].elf);
		free(y->file[i].image);
		if (y->file[i].fd >= 0)
			close(y->file[i].fd);
	}
	free(y);
}

static int klp_symbol_order(const void *a, const void *b)
{
	const struct klp_symbol *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* A function with a size before one without, a global name before a local one before a weak one, fewer underscores
 * first: __read, __GI_read and read are one. */
static unsigned klp_symbol_rank(const GElf_Sym *sym, const char *name)
{
	unsigned rank = sym->st_size ? 0 : 1000;

	if (GELF_ST_TYPE(sym->st_info) == STT_NOTYPE)
		rank += 500;
	if (GELF_ST_BIND(sym->st_info) == STB_LOCAL)
		rank += 100;
	return rank + (unsigned)strspn(name, "_") % 100;
}

static bool klp_symbol_is_code(Elf *elf, const GElf_Sym *sym)
{
	unsigned type = GELF_ST_TYPE(sym->st_info);
	GElf_Shdr sh;

	if (sym->st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE))
		return false;
	if (type != STT_NOTYPE)
		return true;
	/* Labels of assembly: _start. */
	return sym->st_shndx < SHN_LORESERVE && gelf_getshdr(elf_getscn(elf, sym->st_shndx), &sh) &&
	       (sh.sh_flags & SHF_EXECINSTR);
}

static void klp_symbols_take(struct klp_symbol_file *f, Elf_Scn *scn, const GElf_Shdr *sh)
{
	Elf_Data *d = elf_getdata(scn, NULL);
	size_t n = d && d->d_buf && d->d_size <= KLP_SYMTAB_MAX ? d->d_size / sizeof(Elf64_Sym) : 0;
	GElf_Sym sym;

	if (n)
		f->symbol = calloc(n, sizeof(*f->symbol));
	for (size_t i = 0; f->symbol && i < n; i++) {
		const char *name = gelf_getsym(d, (int)i, &sym) && klp_symbol_is_code(f->elf, &sym)
				       ? elf_strptr(f->elf, sh->sh_link, sym.st_name)
				       : NULL;

		if (name && *name)
			f->symbol[f->count++] =
			    (struct klp_symbol){sym.st_value, sym.st_size, name, klp_symbol_rank(&sym, name)};
	}
	if (f->count)
		qsort(f->symbol, f->count, sizeof(*f->symbol), klp_symbol_order);
}

/* .symtab has everything that .dynsym has; a stripped file has only the latter. */
static void klp_symbols_read(struct klp_symbol_file *f)
{
	static const uint32_t wanted[] = {SHT_SYMTAB, SHT_DYNSYM};

	if (!f->elf || elf_kind(f->elf) != ELF_K_ELF || gelf_getclass(f->elf) != ELFCLASS64)
		return;
	for (size_t i = 0; i < 2 && !f->count; i++) {
		Elf_Scn *scn = NULL;
		GElf_Shdr sh;

		while (!f->count && (scn = elf_nextscn(f->elf, scn)))
			if (gelf_getshdr(scn, &sh) && sh.sh_type == wanted[i] && sh.sh_size <= KLP_SYMTAB_MAX) {
				free(f->symbol);
				f->symbol = NULL;
				klp_symbols_take(f, scn, &sh);
			}
	}
}

static void klp_symbols_open(struct klp_session *s, const struct klp_object *o, struct klp_symbol_file *f)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint64_t len = o->end - o->start;

	f->asked = true;
	elf_version(EV_CURRENT);
	if (o->vdso) {
		f->image = len && len <= KLP_VDSO_MAX ? malloc((size_t)len) : NULL;
		if (f->image && !klp_process_read(&s->p, o->start, f->image, (size_t)len, &ignored))
			f->elf = elf_memory(f->image, (size_t)len);
	} else {
		/* Read, not mapped: a file that is cut off meanwhile ends in an error and not in a signal. */
		f->fd = klp_mapped_file_open_similar(s, o);
		if (f->fd >= 0)
			f->elf = elf_begin(f->fd, ELF_C_READ, NULL);
	}
	klp_symbols_read(f);
}

/* The function whose size reaches the address; without one, the nearest label below it. Of several at one place the
 * first in order. */
static const struct klp_symbol *klp_symbols_find(const struct klp_symbol_file *f, uint64_t addr)
{
	const struct klp_symbol *function = NULL, *label = NULL;
	size_t low = 0, high = f->count, last;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (f->symbol[mid].addr <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	last = low > KLP_SYMBOLS_BACK ? low - KLP_SYMBOLS_BACK : 0;
	for (size_t i = low; i > last; i--) {
		const struct klp_symbol *y = &f->symbol[i - 1];

		if (function && y->addr != function->addr)
			break;
		if (y->size && addr - y->addr < y->size)
			function = y;
		else if (!y->size && y->addr == f->symbol[low - 1].addr)
			label = y;
	}
	return function ? function : label;
}

/* Names reach a terminal. */
static void klp_symbol_print(const char *name, char *buf, size_t len)
{
	snprintf(buf, len, "%s", name);
	for (char *c = buf; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
}

static bool klp_is_own_code(const struct klp_session *s, uint64_t addr)
{
	if (s->r.image && addr - s->r.image < KLP_RT_TEXT_SIZE)
		return true;
	for (unsigned i = 0; s->cb && i < KLP_MAX_ARENAS; i++)
		if (s->cb->arenas[i] && s->cb->arenas[i] - addr <= KLP_ARENA_STUBS_SIZE && s->cb->arenas[i] != addr)
			return true;
	return false;
}

const char *klp_symbols_name(struct klp_session *s, struct klp_symbols *y, uint64_t addr, char *buf, size_t len,
			     uint64_t *start)
{
	const struct klp_object *o = klp_process_object_at(&s->p, addr);
	size_t i = o ? (size_t)(o - s->p.object) : 0;
	const struct klp_symbol *found = NULL;
	char name[600];

	*start = 0;
	if (o && y && i < y->count) {
		if (!y->file[i].asked)
			klp_symbols_open(s, o, &y->file[i]);
		found = klp_symbols_find(&y->file[i], addr - o->bias);
	}
	if (found) {
		*start = o->bias + found->addr;
		klp_symbol_print(found->name, buf, len);
	} else if (klp_is_own_code(s, addr)) {
		snprintf(buf, len, "[klp]");
	} else {
		klp_symbol_print(klp_function_name(s, addr, name, sizeof(name)), buf, len);
	}
	return buf;
}
