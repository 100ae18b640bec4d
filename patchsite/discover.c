/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which functions of an ELF file are patchable: pairs the addresses in __patchable_function_entries with function
 * symbols.
 *
 * The table holds the address of each function's first NOP of the prefix and nothing else: neither M nor the symbol. So
 * a recorded address belongs to the first function symbol at or behind it, provided that everything between is NOPs;
 * with M = 0 and a landing pad it lies behind the symbol. The table of a linked PIE is filled by relative relocations,
 * that of an object by relocations against section symbols; gcc keeps one table section per object or per function, the
 * linker may drop some.
 */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "patchsite/arch.h"

#define TABLE_NAME "__patchable_function_entries"
#define MAX_FUNCTIONS (1u << 22)
#define MAX_RECORDED (1u << 22)
#define MAX_SECTIONS (1u << 20)
#define MAX_STRINGS (1u << 30)
#define CODE_BEHIND_ENTRY 16u

struct code {
	uint64_t addr;
	size_t len;
	const uint8_t *bytes;
};

struct file {
	const char *path;
	Elf *elf;
	const struct klp_site_arch *arch;
	bool relocatable;
	struct code *code; /* by section index; len 0: no code */
	size_t sections;
	uint64_t *recorded;
	size_t recorded_count, recorded_room, unnamed;
	struct klp_site_list_entry *fn;
	size_t fn_count;
	char *names;
};

static int bad(const struct file *f, struct klp_error *e, const char *what)
{
	return klp_fail(e, EINVAL, KLP_IO, "%s: %s", f->path, what);
}

static Elf_Data *section_bytes(Elf_Scn *scn)
{
	Elf_Data *d = elf_rawdata(scn, NULL);

	return d && d->d_buf && d->d_size ? d : NULL;
}

static int open_file(struct file *f, int fd, struct klp_error *e)
{
	Elf_Scn *scn = NULL;
	GElf_Ehdr eh;

	if (elf_version(EV_CURRENT) == EV_NONE)
		return klp_fail(e, ENOSYS, KLP_INTERNAL, "libelf is too old");
	f->elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!f->elf || elf_kind(f->elf) != ELF_K_ELF || !gelf_getehdr(f->elf, &eh))
		return bad(f, e, "not an ELF file");
	if (gelf_getclass(f->elf) != ELFCLASS64 || eh.e_ident[EI_DATA] != ELFDATA2LSB)
		return bad(f, e, "not a 64-bit little-endian ELF file");
	f->arch = klp_site_arch_find(eh.e_machine);
	if (!f->arch)
		return klp_fail(e, ENOTSUP, KLP_WRONG_ARCH, "%s: patch sites of ELF machine %u are not known", f->path,
				eh.e_machine);
	f->relocatable = eh.e_type == ET_REL;
	if (elf_getshdrnum(f->elf, &f->sections) || f->sections > MAX_SECTIONS)
		return bad(f, e, "its section table is damaged");
	f->code = calloc(f->sections + 1, sizeof(*f->code));
	if (!f->code)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for %zu sections", f->sections);
	while ((scn = elf_nextscn(f->elf, scn))) {
		size_t i = elf_ndxscn(scn);
		GElf_Shdr sh;
		Elf_Data *d;

		if (!gelf_getshdr(scn, &sh) || i >= f->sections)
			return bad(f, e, "a section header is damaged");
		if (sh.sh_type != SHT_PROGBITS ||
		    (sh.sh_flags & (SHF_ALLOC | SHF_EXECINSTR)) != (SHF_ALLOC | SHF_EXECINSTR))
			continue;
		d = section_bytes(scn);
		if (!d)
			continue;
		if (f->relocatable && d->d_size > UINT32_MAX)
			return bad(f, e, "a section is too large");
		f->code[i].addr = f->relocatable ? KLP_SITE_OBJECT_ADDR(i, 0) : sh.sh_addr;
		f->code[i].len = d->d_size;
		f->code[i].bytes = d->d_buf;
		if (f->code[i].addr + f->code[i].len < f->code[i].addr)
			return bad(f, e, "a section wraps around the address space");
	}
	return 0;
}

/* Addresses and symbol values of an object are relative to their section. */
static bool symbol_address(const struct file *f, const GElf_Sym *sym, uint64_t *addr)
{
	if (sym->st_shndx == SHN_UNDEF || sym->st_shndx >= SHN_LORESERVE || sym->st_shndx >= f->sections)
		return false;
	if (f->relocatable && sym->st_value > UINT32_MAX)
		return false;
	*addr = f->relocatable ? KLP_SITE_OBJECT_ADDR(sym->st_shndx, sym->st_value) : sym->st_value;
	return true;
}

static int record(struct file *f, uint64_t addr, struct klp_error *e)
{
	if (!addr)
		return 0; /* the function was dropped by the linker */
	if (f->recorded_count == f->recorded_room) {
		size_t room = f->recorded_room ? f->recorded_room * 2 : 1024;
		uint64_t *p;

		if (f->recorded_count >= MAX_RECORDED)
			return klp_fail(e, E2BIG, KLP_LIMIT, "%s: more than %u patchable entries", f->path,
					MAX_RECORDED);
		p = realloc(f->recorded, room * sizeof(*p));
		if (!p)
			return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for patchable entries");
		f->recorded = p;
		f->recorded_room = room;
	}
	f->recorded[f->recorded_count++] = addr;
	return 0;
}

/* Relocations of `rel` that fall into the table [start, end); what they do not cover is taken from the contents. */
static int apply_relocs(struct file *f, Elf_Scn *rel, const GElf_Shdr *rsh, uint64_t start, uint64_t end,
			uint64_t *table, struct klp_error *e)
{
	Elf_Data *d = elf_getdata(rel, NULL), *syms = NULL;
	size_t n = rsh->sh_entsize ? rsh->sh_size / rsh->sh_entsize : 0;
	Elf_Scn *symscn = rsh->sh_link ? elf_getscn(f->elf, rsh->sh_link) : NULL;

	if (!d || n > INT32_MAX)
		return bad(f, e, "a relocation section is damaged");
	if (symscn)
		syms = elf_getdata(symscn, NULL);
	for (size_t i = 0; i < n; i++) {
		GElf_Rela r;
		GElf_Sym sym;
		uint64_t addr;

		if (!gelf_getrela(d, (int)i, &r))
			return bad(f, e, "a relocation is damaged");
		if (r.r_offset < start || r.r_offset >= end || (r.r_offset - start) % 8 || end - r.r_offset < 8)
			continue;
		if (GELF_R_TYPE(r.r_info) == f->arch->reloc_relative && !f->relocatable) {
			addr = (uint64_t)r.r_addend;
		} else if (GELF_R_TYPE(r.r_info) == f->arch->reloc_abs64 && syms && GELF_R_SYM(r.r_info) <= INT32_MAX &&
			   gelf_getsym(syms, (int)GELF_R_SYM(r.r_info), &sym)) {
			if (!symbol_address(f, &sym, &addr))
				continue;
			addr += (uint64_t)r.r_addend;
		} else {
			return bad(f, e, "its table of patchable entries has a relocation of an unknown type");
		}
		table[(r.r_offset - start) / 8] = addr;
	}
	return 0;
}

static int read_table(struct file *f, Elf_Scn *scn, const GElf_Shdr *sh, struct klp_error *e)
{
	uint64_t start = f->relocatable ? 0 : sh->sh_addr, *table;
	size_t index = elf_ndxscn(scn), n;
	Elf_Data *d = section_bytes(scn);
	Elf_Scn *rel = NULL;
	int ret = 0;

	if (!d)
		return 0;
	n = d->d_size / 8;
	if (n > MAX_RECORDED)
		return klp_fail(e, E2BIG, KLP_LIMIT, "%s: more than %u patchable entries", f->path, MAX_RECORDED);
	if (start + d->d_size < start)
		return bad(f, e, "its table of patchable entries wraps around the address space");
	table = calloc(n + 1, sizeof(*table));
	if (!table)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for patchable entries");
	memcpy(table, d->d_buf, n * 8);
	while (!ret && (rel = elf_nextscn(f->elf, rel))) {
		GElf_Shdr rsh;

		if (!gelf_getshdr(rel, &rsh) || rsh.sh_type != SHT_RELA)
			continue;
		/* Linked: only those that the loader applies (--emit-relocs leaves others). */
		if (f->relocatable ? rsh.sh_info != index : !(rsh.sh_flags & SHF_ALLOC))
			continue;
		ret = apply_relocs(f, rel, &rsh, start, start + n * 8, table, e);
	}
	for (size_t i = 0; i < n && !ret; i++)
		ret = record(f, table[i], e);
	free(table);
	return ret;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int compare_fn(const void *a, const void *b)
{
	const struct klp_site_list_entry *x = a, *y = b;

	if (x->entry != y->entry)
		return x->entry < y->entry ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int read_tables(struct file *f, struct klp_error *e)
{
	Elf_Scn *scn = NULL;
	size_t shstr, n = 0;
	int ret = 0;

	if (elf_getshdrstrndx(f->elf, &shstr))
		return bad(f, e, "its section names are damaged");
	while (!ret && (scn = elf_nextscn(f->elf, scn))) {
		const char *name;
		GElf_Shdr sh;

		if (!gelf_getshdr(scn, &sh) || sh.sh_type != SHT_PROGBITS || !(sh.sh_flags & SHF_ALLOC))
			continue;
		name = elf_strptr(f->elf, shstr, sh.sh_name);
		if (name && !strcmp(name, TABLE_NAME))
			ret = read_table(f, scn, &sh, e);
	}
	if (ret || !f->recorded_count)
		return ret;
	qsort(f->recorded, f->recorded_count, sizeof(*f->recorded), compare_u64);
	for (size_t i = 0; i < f->recorded_count; i++)
		if (!n || f->recorded[n - 1] != f->recorded[i])
			f->recorded[n++] = f->recorded[i];
	f->recorded_count = n;
	return 0;
}

static int read_functions(struct file *f, struct klp_error *e)
{
	Elf_Scn *scn = NULL, *from = NULL;
	Elf_Data *d, *str;
	GElf_Shdr sh, symsh = {0};
	Elf_Scn *strscn;
	size_t n;

	while ((scn = elf_nextscn(f->elf, scn))) {
		if (!gelf_getshdr(scn, &sh) || (sh.sh_type != SHT_SYMTAB && sh.sh_type != SHT_DYNSYM))
			continue;
		if (from && sh.sh_type != SHT_SYMTAB)
			continue;
		from = scn;
		symsh = sh;
	}
	if (!from)
		return 0; /* stripped, static: there is no function to name */
	d = elf_getdata(from, NULL);
	strscn = elf_getscn(f->elf, symsh.sh_link);
	str = strscn ? section_bytes(strscn) : NULL;
	if (!d || !symsh.sh_entsize || !str || str->d_size > MAX_STRINGS)
		return bad(f, e, "its symbol table is damaged");
	n = symsh.sh_size / symsh.sh_entsize;
	if (n > MAX_FUNCTIONS)
		return klp_fail(e, E2BIG, KLP_LIMIT, "%s: more than %u symbols", f->path, MAX_FUNCTIONS);
	f->names = malloc(str->d_size + 1);
	f->fn = calloc(n + 1, sizeof(*f->fn));
	if (!f->names || !f->fn)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for %zu symbols", n);
	memcpy(f->names, str->d_buf, str->d_size);
	f->names[str->d_size] = 0;
	for (size_t i = 0; i < n; i++) {
		struct klp_site_list_entry *fn = &f->fn[f->fn_count];
		GElf_Sym sym;
		uint64_t addr;

		if (!gelf_getsym(d, (int)i, &sym))
			return bad(f, e, "a symbol is damaged");
		if (GELF_ST_TYPE(sym.st_info) != STT_FUNC || !symbol_address(f, &sym, &addr))
			continue;
		if (!f->code[sym.st_shndx].len || addr < f->code[sym.st_shndx].addr ||
		    addr - f->code[sym.st_shndx].addr >= f->code[sym.st_shndx].len)
			continue;
		if (sym.st_name > str->d_size)
			return bad(f, e, "a symbol's name is damaged");
		*fn = (struct klp_site_list_entry){.name = f->names + sym.st_name, .entry = addr, .size = sym.st_size};
		f->fn_count++;
	}
	qsort(f->fn, f->fn_count, sizeof(*f->fn), compare_fn);
	return 0;
}

static const struct code *code_at(const struct file *f, uint64_t addr)
{
	for (size_t i = 0; i < f->sections; i++)
		if (f->code[i].len && addr >= f->code[i].addr && addr - f->code[i].addr < f->code[i].len)
			return &f->code[i];
	return NULL;
}

/* Index of the first function at or behind addr. */
static size_t first_fn(const struct file *f, uint64_t addr)
{
	size_t lo = 0, hi = f->fn_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->fn[mid].entry < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The functions that a recorded address belongs to (more than one: aliases): index of the first; fn_count: none. */
static size_t owner_of(const struct file *f, uint64_t recorded)
{
	const struct code *c = code_at(f, recorded);
	size_t i, max_pad = 8;

	if (!c)
		return f->fn_count;
	/* M = 0 behind a landing pad. */
	for (size_t back = 1; back <= max_pad && back <= recorded - c->addr; back++) {
		size_t left = c->len - (size_t)(recorded - back - c->addr);

		i = first_fn(f, recorded - back);
		if (i < f->fn_count && f->fn[i].entry == recorded - back &&
		    f->arch->landing_pad(c->bytes + (recorded - back - c->addr), left) == back)
			return i;
	}
	i = first_fn(f, recorded);
	if (i == f->fn_count || f->fn[i].entry - recorded > KLP_SITE_MAX_PREFIX || f->fn[i].entry - c->addr >= c->len)
		return f->fn_count;
	if (!f->arch->all_nops(c->bytes + (recorded - c->addr), (size_t)(f->fn[i].entry - recorded)))
		return f->fn_count;
	return i;
}

static void pair(struct file *f)
{
	for (size_t i = 0; i < f->recorded_count; i++) {
		size_t first = owner_of(f, f->recorded[i]);

		f->unnamed += first == f->fn_count;
		/* Two table entries for one symbol: the table is not what a compiler makes. */
		for (size_t k = first; k < f->fn_count && f->fn[k].entry == f->fn[first].entry; k++) {
			if (f->fn[k].recorded)
				f->fn[k].reason = KLP_SITE_UNKNOWN;
			f->fn[k].recorded = f->recorded[i];
		}
	}
}

static void decode_all(struct file *f)
{
	for (size_t i = 0; i < f->fn_count; i++) {
		struct klp_site_list_entry *fn = &f->fn[i];
		const struct code *c = code_at(f, fn->entry);
		uint64_t from = fn->recorded && fn->recorded < fn->entry ? fn->recorded : fn->entry;
		struct klp_error e = KLP_ERROR_INIT;
		size_t len;

		if (fn->reason != KLP_OK || !c || from < c->addr)
			continue;
		len = (size_t)(fn->entry - from) + CODE_BEHIND_ENTRY;
		if (len > c->len - (size_t)(from - c->addr))
			len = c->len - (size_t)(from - c->addr);
		if (klp_site_decode(f->arch->machine, fn->entry, fn->recorded, c->bytes + (from - c->addr), from, len,
				    &fn->site, &e))
			fn->reason = e.reason;
	}
}

int klp_site_list_file(const char *path, struct klp_site_list *out, struct klp_error *e)
{
	struct file f = {.path = path};
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;

	*out = (struct klp_site_list){0};
	if (fd < 0) {
		ret = errno;
		return klp_fail(e, ret, KLP_IO, "%s: %s", path, strerror(ret));
	}
	ret = open_file(&f, fd, e);
	if (!ret)
		ret = read_tables(&f, e);
	if (!ret)
		ret = read_functions(&f, e);
	if (!ret) {
		pair(&f);
		decode_all(&f);
		*out =
		    (struct klp_site_list){.count = f.fn_count, .entry = f.fn, .unnamed = f.unnamed, .owner = f.names};
	} else {
		free(f.fn);
		free(f.names);
	}
	free(f.recorded);
	free(f.code);
	if (f.elf)
		elf_end(f.elf);
	close(fd);
	return ret;
}

void klp_site_list_free(struct klp_site_list *l)
{
	free(l->entry);
	free(l->owner);
	*l = (struct klp_site_list){0};
}
