/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A module's ELF file, checked once and then read by the reader and the linker. Every offset, size, link and name in it
 * has been found to lie inside the image, so that its users need no checks of their own.
 */
#ifndef KLP_MODULE_ELF_H
#define KLP_MODULE_ELF_H

#include <gelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "klp/include/klp/error.h"

#define KLP_ELF_MAX_SECTIONS 65000u
#define KLP_ELF_MAX_SYMBOLS (1u << 20)
#define KLP_ELF_MAX_NAME 4096u
#define KLP_META_SECTION ".klp.meta"
#define KLP_ELF_MAX_OBJECT 9999u   /* N of a section .klp.N.NAME */
#define KLP_ELF_NO_SYMBOL SIZE_MAX /* of klp_elf_symbol.external: the symbol is the module's own */

struct klp_elf_section {
	const char *name;
	const char *plain; /* of .klp.N.NAME: .NAME; else the name */
	unsigned object;   /* N, else 0: the object of the metadata that it belongs to */
	uint32_t type, link, info;
	uint64_t flags, size, align, entsize;
	const uint8_t *data; /* NULL for SHT_NOBITS and for size 0 */
};

struct klp_elf_symbol {
	const char *name;
	uint8_t type, bind;
	uint16_t shndx; /* SHN_UNDEF, SHN_ABS or a section index */
	uint64_t value, size;
	size_t external;           /* undefined: INDEX of klp:INDEX:NAME; else KLP_ELF_NO_SYMBOL */
	const char *external_name; /* NAME of it */
};

struct klp_elf {
	Elf *elf;
	uint16_t machine;
	struct klp_elf_section *section;
	size_t section_count; /* [0] is unused */
	struct klp_elf_symbol *symbol;
	size_t symbol_count; /* [0] is the null symbol */
	size_t symtab;       /* section index */
	size_t meta;         /* section index of .klp.meta */
};

/* image stays the caller's and must outlive *f. */
int klp_elf_open(const uint8_t *image, size_t size, struct klp_elf *f, struct klp_error *e);
void klp_elf_close(struct klp_elf *f);

#endif
