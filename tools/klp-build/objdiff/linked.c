/* SPDX-License-Identifier: Apache-2.0 */
/* Reading linked files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tools/klp-build/objdiff/linked.h"

static int bad(const struct lk *l, struct klp_error *e, const char *what)
{
	return klp_fail(e, EINVAL, KLP_IO, "%s is damaged: %s", l->path, what);
}

static bool in_file(const struct lk *l, uint64_t off, uint64_t size)
{
	return off <= l->len && size <= l->len - off;
}

static const char *string_at(const struct lk *l, const struct lk_sec *str, uint64_t off)
{
	const char *s;

	if (str->type == SHT_NOBITS || !in_file(l, str->off, str->size) || off >= str->size)
		return NULL;
	s = (const char *)l->image + str->off + off;
	return memchr(s, 0, str->size - off) ? s : NULL;
}

static int read_symbols(struct od_pool *p, struct lk *l, uint32_t type, struct lk_sym **out, size_t *count,
			struct klp_error *e)
{
	const struct lk_sec *t = NULL, *str;
	const Elf64_Sym *sy;
	const char *file = "";
	size_t group = 0;

	for (size_t i = 0; i < l->sec_count && !t; i++)
		if (l->sec[i].type == type)
			t = &l->sec[i];
	if (!t)
		return 0;
	if (t->entsize != sizeof(*sy) || t->off % 8 || !in_file(l, t->off, t->size))
		return bad(l, e, "a symbol table");
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)(const void *)l->image;
	const Elf64_Shdr *sh = (const Elf64_Shdr *)(const void *)(l->image + eh->e_shoff);
	uint32_t link = sh[t - l->sec].sh_link;
	if (link >= l->sec_count)
		return bad(l, e, "a symbol table's strings");
	str = &l->sec[link];
	sy = (const Elf64_Sym *)(const void *)(l->image + t->off);
	*count = t->size / sizeof(*sy);
	*out = od_alloc(p, *count + 1, sizeof(**out));
	for (size_t i = 0; i < *count; i++) {
		struct lk_sym *y = &(*out)[i];

		y->name = string_at(l, str, sy[i].st_name);
		if (!y->name)
			return bad(l, e, "a symbol's name");
		y->value = sy[i].st_value;
		y->size = sy[i].st_size;
		y->type = ELF64_ST_TYPE(sy[i].st_info);
		y->bind = ELF64_ST_BIND(sy[i].st_info);
		y->shndx = sy[i].st_shndx;
		y->version = "";
		if (y->type == STT_FILE) {
			file = y->name;
			group++;
		}
		y->file = y->bind == STB_LOCAL ? file : "";
		y->group = y->bind == STB_LOCAL ? group : 0;
	}
	return 0;
}

static const struct lk_sec *by_type(const struct lk *l, uint32_t type)
{
	for (size_t i = 0; i < l->sec_count; i++)
		if (l->sec[i].type == type && in_file(l, l->sec[i].off, l->sec[i].size))
			return &l->sec[i];
	return NULL;
}

/* Versions of the symbols that are needed from elsewhere, and of the file's own. */
static void read_versions(struct lk *l)
{
	const struct lk_sec *vs = by_type(l, SHT_GNU_versym), *need = by_type(l, SHT_GNU_verneed), *str = NULL;
	const uint16_t *v;
	uint64_t at = 0;

	for (size_t i = 0; i < l->sec_count; i++)
		if (!strcmp(l->sec[i].name, ".dynstr"))
			str = &l->sec[i];
	if (!vs || !need || !str || vs->off % 2 || vs->size / 2 < l->dyn_count)
		return;
	v = (const uint16_t *)(const void *)(l->image + vs->off);
	for (unsigned i = 0; i < 4096 && at + sizeof(Elf64_Verneed) <= need->size; i++) {
		Elf64_Verneed n;
		uint64_t a;

		memcpy(&n, l->image + need->off + at, sizeof(n));
		a = at + n.vn_aux;
		for (unsigned k = 0; k < n.vn_cnt && a + sizeof(Elf64_Vernaux) <= need->size; k++) {
			Elf64_Vernaux x;
			const char *name;

			memcpy(&x, l->image + need->off + a, sizeof(x));
			name = string_at(l, str, x.vna_name);
			for (size_t s = 0; name && s < l->dyn_count; s++)
				if ((v[s] & 0x7fff) == x.vna_other)
					l->dyn[s].version = name;
			if (!x.vna_next)
				break;
			a += x.vna_next;
		}
		if (!n.vn_next)
			break;
		at += n.vn_next;
	}
}

static int read_relocs(struct od_pool *p, struct lk *l, struct klp_error *e)
{
	size_t n = 0;

	for (size_t i = 0; i < l->sec_count; i++)
		if (l->sec[i].type == SHT_RELA && l->sec[i].flags & SHF_ALLOC)
			n += l->sec[i].size / sizeof(Elf64_Rela);
	if (n > OD_MAX_FILE / sizeof(Elf64_Rela))
		return bad(l, e, "its relocations");
	l->rel = od_alloc(p, n + 1, sizeof(*l->rel));
	for (size_t i = 0; i < l->sec_count; i++) {
		const struct lk_sec *s = &l->sec[i];
		const Elf64_Rela *ra;

		if (s->type != SHT_RELA || !(s->flags & SHF_ALLOC))
			continue;
		if (s->off % 8 || !in_file(l, s->off, s->size))
			return bad(l, e, "its relocations");
		ra = (const Elf64_Rela *)(const void *)(l->image + s->off);
		for (size_t k = 0; k < s->size / sizeof(*ra); k++) {
			size_t sym = ELF64_R_SYM(ra[k].r_info);
			struct lk_dynrel *r = &l->rel[l->rel_count++];

			if (sym && sym >= l->dyn_count)
				return bad(l, e, "a relocation's symbol");
			*r = (struct lk_dynrel){ra[k].r_offset, (uint32_t)ELF64_R_TYPE(ra[k].r_info), ra[k].r_addend,
						sym ? &l->dyn[sym] : NULL};
		}
	}
	return 0;
}

static void read_plt(struct od_pool *p, struct lk *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->sec_count; i++)
		if (!strncmp(l->sec[i].name, ".plt", 4))
			n += l->sec[i].size / 8 + 1;
	l->plt = od_alloc(p, n + 1, sizeof(*l->plt));
	for (size_t i = 0; i < l->sec_count; i++) {
		const struct lk_sec *s = &l->sec[i];

		if (strncmp(s->name, ".plt", 4) || s->type != SHT_PROGBITS || !in_file(l, s->off, s->size))
			continue;
		l->plt_count +=
		    l->arch->modules->plt(l->image + s->off, s->size, s->addr, s->entsize, l->plt + l->plt_count);
	}
}

static void read_notes(struct lk *l)
{
	for (size_t i = 0; i < l->sec_count; i++) {
		const struct lk_sec *s = &l->sec[i];
		uint64_t at = 0;

		if (s->type != SHT_NOTE || !in_file(l, s->off, s->size))
			continue;
		while (at + sizeof(Elf64_Nhdr) <= s->size) {
			Elf64_Nhdr n;
			uint64_t name, desc;

			memcpy(&n, l->image + s->off + at, sizeof(n));
			name = at + sizeof(n);
			desc = name + ((n.n_namesz + 3ull) & ~3ull);
			if (desc > s->size || n.n_descsz > s->size - desc)
				break;
			if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && n.n_descsz <= sizeof(l->build_id) &&
			    !memcmp(l->image + s->off + name, "GNU", 4)) {
				l->build_id_len = n.n_descsz;
				memcpy(l->build_id, l->image + s->off + desc, n.n_descsz);
			}
			at = desc + ((n.n_descsz + 3ull) & ~3ull);
		}
	}
}

static void read_soname(struct lk *l)
{
	const struct lk_sec *dyn = by_type(l, SHT_DYNAMIC), *str = NULL;

	for (size_t i = 0; i < l->sec_count; i++)
		if (!strcmp(l->sec[i].name, ".dynstr"))
			str = &l->sec[i];
	for (uint64_t at = 0; dyn && str && at + sizeof(Elf64_Dyn) <= dyn->size; at += sizeof(Elf64_Dyn)) {
		Elf64_Dyn x;

		memcpy(&x, l->image + dyn->off + at, sizeof(x));
		if (x.d_tag == DT_SONAME)
			l->soname = string_at(l, str, x.d_un.d_val);
	}
}

int lk_load(struct od_pool *p, const char *path, bool debug, struct lk *l, struct klp_error *e)
{
	const Elf64_Ehdr *eh;
	const Elf64_Shdr *sh;
	int rc;

	memset(l, 0, sizeof(*l));
	l->path = path;
	rc = od_read_file(p, path, &l->image, &l->len, e);
	if (rc)
		return rc;
	eh = (const Elf64_Ehdr *)(const void *)l->image;
	l->arch = od_arch_find(eh->e_machine);
	if ((eh->e_type != ET_EXEC && eh->e_type != ET_DYN) || !l->arch)
		return klp_fail(e, EINVAL, KLP_WRONG_ARCH, "%s is not a program or shared object for %s", path,
				OD_ARCH_NAMES);
	l->type = eh->e_type;
	if (!eh->e_shnum || !eh->e_shoff)
		return klp_fail(e, EINVAL, KLP_UNSUPPORTED,
				"%s has no section headers; klp-build needs them (strip keeps them)", path);
	if (eh->e_shentsize != sizeof(*sh) || eh->e_shoff % 8 || !in_file(l, eh->e_shoff, eh->e_shnum * sizeof(*sh)) ||
	    eh->e_shstrndx >= eh->e_shnum)
		return bad(l, e, "section headers");
	if (eh->e_phentsize != sizeof(*l->ph) || eh->e_phoff % 8 ||
	    !in_file(l, eh->e_phoff, eh->e_phnum * sizeof(*l->ph)))
		return bad(l, e, "program headers");
	l->ph = (const Elf64_Phdr *)(const void *)(l->image + eh->e_phoff);
	l->ph_count = eh->e_phnum;
	sh = (const Elf64_Shdr *)(const void *)(l->image + eh->e_shoff);
	l->sec_count = eh->e_shnum;
	l->sec = od_alloc(p, l->sec_count, sizeof(*l->sec));
	for (size_t i = 0; i < l->sec_count; i++)
		l->sec[i] =
		    (struct lk_sec){NULL,          sh[i].sh_type,   sh[i].sh_flags, sh[i].sh_addr, sh[i].sh_offset,
				    sh[i].sh_size, sh[i].sh_entsize};
	for (size_t i = 0; i < l->sec_count; i++) {
		l->sec[i].name = string_at(l, &l->sec[eh->e_shstrndx], sh[i].sh_name);
		if (!l->sec[i].name)
			return bad(l, e, "a section's name");
		if (l->sec[i].type != SHT_NOBITS && !in_file(l, l->sec[i].off, l->sec[i].size))
			return bad(l, e, "a section lies outside the file");
		if (!strcmp(l->sec[i].name, ".comment") && l->sec[i].size &&
		    !l->image[l->sec[i].off + l->sec[i].size - 1])
			l->producer = (const char *)l->image + l->sec[i].off;
	}
	rc = read_symbols(p, l, SHT_SYMTAB, &l->sym, &l->sym_count, e);
	for (size_t i = 1; l->arch->modules->data_pointer && i < l->sym_count; i++)
		if (l->sym[i].shndx && !strcmp(l->sym[i].name, l->arch->modules->data_pointer))
			l->data_pointer = l->sym[i].value;
	read_notes(l);
	if (rc || debug)
		return rc;
	rc = read_symbols(p, l, SHT_DYNSYM, &l->dyn, &l->dyn_count, e);
	if (rc)
		return rc;
	read_versions(l);
	read_soname(l);
	rc = read_relocs(p, l, e);
	if (rc)
		return rc;
	read_plt(p, l);
	return 0;
}

const uint8_t *lk_bytes(const struct lk *l, uint64_t addr, uint64_t size)
{
	for (size_t i = 0; i < l->ph_count; i++) {
		const Elf64_Phdr *p = &l->ph[i];

		if (p->p_type == PT_LOAD && addr >= p->p_vaddr && addr - p->p_vaddr <= p->p_filesz &&
		    size <= p->p_filesz - (addr - p->p_vaddr) && in_file(l, p->p_offset, p->p_filesz))
			return l->image + p->p_offset + (addr - p->p_vaddr);
	}
	return NULL;
}

const struct lk_sec *lk_sec_at(const struct lk *l, uint64_t addr)
{
	for (size_t i = 0; i < l->sec_count; i++)
		if (l->sec[i].flags & SHF_ALLOC && !(l->sec[i].flags & SHF_TLS && l->sec[i].type == SHT_NOBITS) &&
		    addr >= l->sec[i].addr && addr - l->sec[i].addr < l->sec[i].size)
			return &l->sec[i];
	return NULL;
}

/* $x and $d say where code and data begin (aarch64, riscv64); compilers' labels remain in files for linkers that relax.
 */
static bool is_mark(const char *name)
{
	if (name[0] == '.' && name[1] == 'L')
		return true;
	return name[0] == '$' && (name[1] == 'x' || name[1] == 'd') && (!name[2] || name[2] == '.' || name[1] == 'x');
}

static bool thing(const struct lk_sym *y)
{
	return y->shndx && !(y->type == STT_NOTYPE && y->bind == STB_LOCAL && is_mark(y->name)) &&
	       (y->type == STT_FUNC || y->type == STT_OBJECT || y->type == STT_TLS || y->type == STT_NOTYPE ||
		y->type == STT_GNU_IFUNC || y->type == STT_COMMON);
}

/* Versions do not count on either side: the copy of another object's data is called stdout@GLIBC_2.2.5 in the symbol
 * table. */
const struct lk_sym *lk_global(const struct lk *l, const char *name)
{
	const struct lk_sym *hidden = NULL;
	size_t len = strcspn(name, "@");

	for (size_t i = 1; i < l->sym_count; i++) {
		const struct lk_sym *y = &l->sym[i];

		if (!thing(y) || strcspn(y->name, "@") != len || memcmp(y->name, name, len))
			continue;
		if (y->bind != STB_LOCAL)
			return y;
		if (!*y->file)
			hidden = y; /* a hidden global became local in the link */
	}
	return hidden;
}

const struct lk_sym *lk_local(const struct lk *l, const char *name, size_t group)
{
	for (size_t i = 1; i < l->sym_count; i++)
		if (l->sym[i].group == group && l->sym[i].bind == STB_LOCAL && thing(&l->sym[i]) &&
		    !strcmp(l->sym[i].name, name))
			return &l->sym[i];
	return NULL;
}

const struct lk_sym *lk_dynamic(const struct lk *l, const char *name)
{
	for (size_t i = 1; i < l->dyn_count; i++)
		if (!strcmp(l->dyn[i].name, name))
			return &l->dyn[i];
	return NULL;
}

const struct lk_sym *lk_at(const struct lk *l, uint64_t addr, const char *prefer)
{
	const struct lk_sym *best = NULL;

	for (size_t i = 1; i < l->sym_count; i++) {
		const struct lk_sym *y = &l->sym[i];

		if (!thing(y) || y->type == STT_TLS || y->value != addr)
			continue;
		if (prefer && !strcmp(y->name, prefer))
			return y;
		if (!best || (best->bind == STB_LOCAL && y->bind != STB_LOCAL))
			best = y;
	}
	return best;
}

const struct lk_sym *lk_tls_at(const struct lk *l, uint64_t off, const char *prefer)
{
	const struct lk_sym *best = NULL;

	for (size_t i = 1; i < l->sym_count; i++) {
		const struct lk_sym *y = &l->sym[i];

		if (y->type != STT_TLS || !y->shndx || y->value != off)
			continue;
		if (!best || (prefer && !strcmp(y->name, prefer)))
			best = y;
	}
	return best;
}

const struct lk_dynrel *lk_rel_at(const struct lk *l, uint64_t slot)
{
	for (size_t i = 0; i < l->rel_count; i++)
		if (l->rel[i].off == slot)
			return &l->rel[i];
	return NULL;
}

uint64_t lk_plt_slot(const struct lk *l, uint64_t addr)
{
	for (size_t i = 0; i < l->plt_count; i++)
		if (l->plt[i].addr == addr)
			return l->plt[i].slot;
	return 0;
}

/* Links that shorten code leave less of a function. */
static bool same_size(const struct lk *l, const struct lk_sym *linked, const struct od_sym *y)
{
	return linked->type == STT_FUNC && l->arch->modules->relaxed ? linked->size <= y->size
								     : linked->size == y->size;
}

size_t lk_find_group(const struct lk *l, const struct od_obj *o)
{
	size_t found = 0, groups = 0;

	if (!o->file)
		return 0;
	for (size_t i = 1; i < l->sym_count; i++) {
		bool fits = true;

		if (l->sym[i].type != STT_FILE)
			continue;
		groups++;
		if (strcmp(l->sym[i].name, o->file))
			continue;
		for (size_t k = i + 1;
		     fits && k < l->sym_count && l->sym[k].type != STT_FILE && l->sym[k].bind == STB_LOCAL; k++) {
			bool ours = false;

			if (l->sym[k].type != STT_FUNC && l->sym[k].type != STT_OBJECT)
				continue;
			for (size_t n = 1; !ours && n < o->sym_count; n++)
				ours = o->sym[n].type == l->sym[k].type && same_size(l, &l->sym[k], &o->sym[n]) &&
				       !strcmp(o->sym[n].name, l->sym[k].name);
			fits = ours;
		}
		if (!fits)
			continue;
		if (found)
			return SIZE_MAX;
		found = groups;
	}
	return found;
}

const struct lk_sym *lk_sym_of(const struct lk *l, struct od_obj *o, const struct od_sym *y, int side)
{
	if (y->bind != STB_LOCAL)
		return lk_global(l, y->name);
	if (!o->group[side])
		o->group[side] = lk_find_group(l, o) + 1;
	/* stored off by one: 1 is "no group", 0 "several" */
	if (o->group[side] == 0)
		return NULL;
	return o->group[side] == 1 ? NULL : lk_local(l, y->name, o->group[side] - 1);
}

uint64_t lk_find_string(const struct lk *l, const char *s, size_t len, uint64_t align)
{
	for (size_t i = 0; i < l->sec_count; i++) {
		const struct lk_sec *c = &l->sec[i];
		const uint8_t *b, *end;

		if (!(c->flags & SHF_ALLOC) || c->flags & (SHF_WRITE | SHF_EXECINSTR) || c->type != SHT_PROGBITS ||
		    strncmp(c->name, ".rodata", 7))
			continue;
		/* Only here: a section without bytes in the file may say anything of its offset. */
		b = l->image + c->off;
		end = b + c->size;
		while (b < end) {
			const uint8_t *m = memmem(b, (size_t)(end - b), s, len);
			uint64_t addr;

			if (!m)
				break;
			addr = c->addr + (uint64_t)(m - (l->image + c->off));
			if (addr % align == 0)
				return addr;
			b = m + 1;
		}
	}
	return 0;
}

bool lk_recorded(const struct lk *l, uint64_t addr)
{
	for (size_t i = 0; i < l->sec_count; i++) {
		const struct lk_sec *c = &l->sec[i];

		if (strcmp(c->name, "__patchable_function_entries") || c->type != SHT_PROGBITS)
			continue;
		for (uint64_t k = 0; k + 8 <= c->size; k += 8) {
			uint64_t v;

			memcpy(&v, l->image + c->off + k, 8);
			if (v == addr)
				return true;
		}
		for (size_t k = 0; k < l->rel_count; k++)
			if (l->arch->modules->slot(l->rel[k].type) == OD_SLOT_RELATIVE &&
			    (uint64_t)l->rel[k].addend == addr && l->rel[k].off >= c->addr &&
			    l->rel[k].off < c->addr + c->size)
				return true;
	}
	return false;
}

unsigned lk_sympos(const struct lk *l, const struct lk_sym *y)
{
	unsigned n = 0, pos = 0;

	if (y->bind != STB_LOCAL)
		return 0;
	for (size_t i = 1; i < l->sym_count; i++) {
		const struct lk_sym *o = &l->sym[i];

		if (o->type != y->type || o->bind != STB_LOCAL || strcmp(o->name, y->name) || strcmp(o->file, y->file))
			continue;
		n++;
		if (o == y)
			pos = n;
	}
	return n > 1 ? pos : 0;
}
