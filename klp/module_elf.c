/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/module_elf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A name inside a string table, terminated there, of a bounded length; NULL if not. */
static const char *klp_elf_name(const uint8_t *table, uint64_t table_size, uint64_t offset)
{
	uint64_t room;

	if (!table || offset >= table_size)
		return NULL;
	room = table_size - offset;
	if (!memchr(table + offset, 0, (size_t)(room < KLP_ELF_MAX_NAME ? room : KLP_ELF_MAX_NAME)))
		return NULL;
	return (const char *)table + offset;
}

static int klp_elf_header(struct klp_elf *f, const uint8_t *image, size_t size, struct klp_error *e)
{
	GElf_Ehdr eh;
	uint16_t type;

	if (size < sizeof(Elf64_Ehdr) || memcmp(image, ELFMAG, SELFMAG))
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "not a patch module: it is no ELF file");
	if (image[EI_CLASS] != ELFCLASS64)
		return klp_fail(e, EINVAL, KLP_WRONG_ARCH, "not a 64-bit ELF file");
	if (image[EI_DATA] != ELFDATA2LSB)
		return klp_fail(e, EINVAL, KLP_WRONG_ARCH, "not a little-endian ELF file");
	if (image[EI_VERSION] != EV_CURRENT)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "an unknown ELF version");
	/* Both are known before libelf looks at the rest, so that another machine is named even if the rest makes no
	 * sense. */
	memcpy(&type, image + offsetof(Elf64_Ehdr, e_type), sizeof(type));
	memcpy(&f->machine, image + offsetof(Elf64_Ehdr, e_machine), sizeof(f->machine));
	if (type != ET_REL)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "not a patch module: ELF type %u is not relocatable", type);
	f->elf = elf_memory((char *)(uintptr_t)image, size);
	if (!f->elf || elf_kind(f->elf) != ELF_K_ELF || !gelf_getehdr(f->elf, &eh))
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "damaged ELF header: %s", elf_errmsg(-1));
	if (eh.e_ehsize != sizeof(Elf64_Ehdr) || eh.e_shentsize != sizeof(Elf64_Shdr))
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "damaged ELF header: its structures have the wrong size");
	return 0;
}

/* .klp.N.NAME belongs to object N, which is above 0, without leading zeros; false: N is none. */
static bool klp_elf_object(struct klp_elf_section *s)
{
	const char *p = s->name;

	s->plain = p;
	s->object = 0;
	if (strncmp(p, ".klp.", 5) || p[5] < '0' || p[5] > '9')
		return true;
	for (p += 5; *p >= '0' && *p <= '9'; p++) {
		s->object = s->object * 10 + (unsigned)(*p - '0');
		if (!s->object || s->object > KLP_ELF_MAX_OBJECT)
			return false;
	}
	s->plain = p;
	return *p == '.' && p[1];
}

static int klp_elf_sections(struct klp_elf *f, const uint8_t *image, size_t size, struct klp_error *e)
{
	size_t count, names_index;
	GElf_Shdr names, h;

	if (elf_getshdrnum(f->elf, &count) || elf_getshdrstrndx(f->elf, &names_index))
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "damaged section table: %s", elf_errmsg(-1));
	if (count < 2 || names_index == 0 || names_index >= count)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "a file without sections");
	if (count > KLP_ELF_MAX_SECTIONS)
		return klp_fail(e, E2BIG, KLP_LIMIT, "%zu sections, at most %u are possible", count,
				KLP_ELF_MAX_SECTIONS);
	f->section = calloc(count, sizeof(*f->section));
	if (!f->section)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for %zu sections", count);
	f->section_count = count;
	if (!gelf_getshdr(elf_getscn(f->elf, names_index), &names) || names.sh_type != SHT_STRTAB ||
	    names.sh_offset > size || names.sh_size > size - names.sh_offset)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "damaged table of section names");
	for (size_t i = 1; i < count; i++) {
		struct klp_elf_section *s = &f->section[i];

		if (!gelf_getshdr(elf_getscn(f->elf, i), &h))
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "damaged header of section %zu: %s", i,
					elf_errmsg(-1));
		s->name = klp_elf_name(image + names.sh_offset, names.sh_size, h.sh_name);
		if (!s->name)
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "section %zu has no readable name", i);
		if (!klp_elf_object(s))
			return klp_fail(e, EINVAL, KLP_BAD_MODULE,
					"section %s does not say which object it belongs to (.klp.N.NAME)", s->name);
		if (h.sh_type != SHT_NOBITS && h.sh_type != SHT_NULL &&
		    (h.sh_offset > size || h.sh_size > size - h.sh_offset))
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "section %s lies outside the file (truncated?)",
					s->name);
		s->type = h.sh_type;
		s->flags = h.sh_flags;
		s->size = h.sh_type == SHT_NULL ? 0 : h.sh_size;
		s->align = h.sh_addralign;
		s->entsize = h.sh_entsize;
		s->link = h.sh_link;
		s->info = h.sh_info;
		s->data = h.sh_type == SHT_NOBITS || !s->size ? NULL : image + h.sh_offset;
		if (h.sh_type == SHT_SYMTAB && f->symtab)
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "two symbol tables");
		if (h.sh_type == SHT_SYMTAB)
			f->symtab = i;
		if (!strcmp(s->name, KLP_META_SECTION)) {
			if (f->meta)
				return klp_fail(e, EINVAL, KLP_BAD_MODULE, "two sections %s", KLP_META_SECTION);
			if (h.sh_type != SHT_PROGBITS || (h.sh_flags & (SHF_ALLOC | SHF_COMPRESSED)) || !s->data)
				return klp_fail(e, EINVAL, KLP_BAD_MODULE, "section %s has the wrong type",
						KLP_META_SECTION);
			f->meta = i;
		}
	}
	if (!f->meta)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "not a patch module: it has no section %s",
				KLP_META_SECTION);
	if (!f->symtab)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "it has no symbol table");
	return 0;
}

/* klp:INDEX:NAME, INDEX decimal without leading zeros. */
static bool klp_elf_external(struct klp_elf_symbol *s)
{
	const char *p = s->name;
	size_t index = 0, digits = 0;

	if (strncmp(p, "klp:", 4))
		return false;
	for (p += 4; *p >= '0' && *p <= '9'; p++, digits++) {
		if (digits == 7 || (digits == 1 && p[-1] == '0'))
			return false;
		index = index * 10 + (size_t)(*p - '0');
	}
	if (!digits || *p != ':' || !p[1])
		return false;
	s->external = index;
	s->external_name = p + 1;
	return true;
}

static int klp_elf_symbols(struct klp_elf *f, struct klp_error *e)
{
	const struct klp_elf_section *tab = &f->section[f->symtab], *str;
	size_t count;

	if (tab->entsize != sizeof(Elf64_Sym) || tab->size % sizeof(Elf64_Sym) || tab->size == 0)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "damaged symbol table");
	if (tab->link == 0 || tab->link >= f->section_count || f->section[tab->link].type != SHT_STRTAB)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "the symbol table has no names");
	str = &f->section[tab->link];
	count = (size_t)(tab->size / sizeof(Elf64_Sym));
	if (count > KLP_ELF_MAX_SYMBOLS)
		return klp_fail(e, E2BIG, KLP_LIMIT, "%zu symbols, at most %u are possible", count,
				KLP_ELF_MAX_SYMBOLS);
	f->symbol = calloc(count, sizeof(*f->symbol));
	if (!f->symbol)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for %zu symbols", count);
	f->symbol_count = count;
	f->symbol[0].name = "";
	f->symbol[0].external = KLP_ELF_NO_SYMBOL;
	for (size_t i = 1; i < count; i++) {
		struct klp_elf_symbol *s = &f->symbol[i];
		Elf64_Sym y;

		memcpy(&y, tab->data + i * sizeof(y), sizeof(y));
		s->name = y.st_name ? klp_elf_name(str->data, str->size, y.st_name) : "";
		if (!s->name)
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "symbol %zu has no readable name", i);
		s->type = ELF64_ST_TYPE(y.st_info);
		s->bind = ELF64_ST_BIND(y.st_info);
		s->shndx = y.st_shndx;
		s->value = y.st_value;
		s->size = y.st_size;
		s->external = KLP_ELF_NO_SYMBOL;
		if (s->type == STT_GNU_IFUNC)
			return klp_fail(e, ENOTSUP, KLP_UNSUPPORTED, "the module defines an ifunc, %s", s->name);
		switch (s->shndx) {
		case SHN_UNDEF:
			if (!klp_elf_external(s))
				return klp_fail(e, EINVAL, KLP_BAD_MODULE,
						"undefined symbol %s does not say what it is (klp:INDEX:NAME)",
						*s->name ? s->name : "without a name");
			break;
		case SHN_ABS:
			break;
		case SHN_COMMON:
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "common symbol %s (compile with -fno-common)",
					s->name);
		default:
			if (s->shndx >= SHN_LORESERVE || s->shndx >= f->section_count)
				return klp_fail(e, EINVAL, KLP_BAD_MODULE, "symbol %s is in no section", s->name);
			/* The end of a section is a place that symbols may name. */
			if (s->value > f->section[s->shndx].size || s->size > f->section[s->shndx].size - s->value)
				return klp_fail(e, EINVAL, KLP_BAD_MODULE, "symbol %s lies outside section %s", s->name,
						f->section[s->shndx].name);
		}
	}
	return 0;
}

int klp_elf_open(const uint8_t *image, size_t size, struct klp_elf *f, struct klp_error *e)
{
	int rc;

	memset(f, 0, sizeof(*f));
	if (elf_version(EV_CURRENT) == EV_NONE)
		return klp_fail(e, ENOTSUP, KLP_INTERNAL, "libelf does not know this ELF version");
	rc = klp_elf_header(f, image, size, e);
	if (!rc)
		rc = klp_elf_sections(f, image, size, e);
	if (!rc)
		rc = klp_elf_symbols(f, e);
	if (rc)
		klp_elf_close(f);
	return rc;
}

void klp_elf_close(struct klp_elf *f)
{
	free(f->section);
	free(f->symbol);
	if (f->elf)
		elf_end(f->elf);
	memset(f, 0, sizeof(*f));
}
