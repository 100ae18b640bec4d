/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A linked file: its segments, symbols with the file that each local one comes from, what its link left to the dynamic
 * linker, and the PLT entries that lead there.
 */
#ifndef KLP_OBJDIFF_LINKED_H
#define KLP_OBJDIFF_LINKED_H

#include "tools/klp-build/objdiff/object.h"

struct lk_sym {
	const char *name, *file, *version;
	uint64_t value, size;
	uint8_t type, bind;
	uint32_t shndx;
	size_t group; /* of local symbols: which STT_FILE in the table, 1-based; 0 before the first */
};

struct lk_dynrel {
	uint64_t off;
	uint32_t type;
	int64_t addend;
	const struct lk_sym *sym; /* NULL: none */
};

struct lk_plt {
	uint64_t addr, slot;
};

struct lk_sec {
	const char *name;
	uint32_t type;
	uint64_t flags, addr, off, size, entsize;
};

struct lk {
	const char *path;
	const struct od_arch *arch;
	uint8_t *image;
	size_t len;
	uint16_t type;
	const Elf64_Phdr *ph;
	size_t ph_count;
	struct lk_sec *sec;
	size_t sec_count;
	struct lk_sym *sym, *dyn;
	size_t sym_count, dyn_count;
	struct lk_dynrel *rel;
	size_t rel_count;
	struct lk_plt *plt;
	size_t plt_count;
	uint8_t build_id[64];
	size_t build_id_len;
	const char *producer, *soname;
	uint64_t data_pointer; /* what the register of that name always holds; 0: none, or not known */
};

int lk_load(struct od_pool *p, const char *path, bool debug, struct lk *out, struct klp_error *e);
/* Bytes of a loaded segment, as in the file; NULL if [addr, addr + size) is not all there. */
const uint8_t *lk_bytes(const struct lk *l, uint64_t addr, uint64_t size);
const struct lk_sec *lk_sec_at(const struct lk *l, uint64_t addr);
/* The table of symbols has one that is defined under this name: global, or local in the group (0: hidden globals). */
const struct lk_sym *lk_global(const struct lk *l, const char *name);
const struct lk_sym *lk_local(const struct lk *l, const char *name, size_t group);
const struct lk_sym *lk_dynamic(const struct lk *l, const char *name);
/* The thread-local variable at this offset of the block, preferably of this name. */
const struct lk_sym *lk_tls_at(const struct lk *l, uint64_t off, const char *prefer);
/* Any function or datum at exactly this address, global ones first. */
const struct lk_sym *lk_at(const struct lk *l, uint64_t addr, const char *prefer);
const struct lk_dynrel *lk_rel_at(const struct lk *l, uint64_t slot);
uint64_t lk_plt_slot(const struct lk *l, uint64_t addr);
/* The group of an object's local symbols; 0 if there is none, SIZE_MAX if several fit. */
size_t lk_find_group(const struct lk *l, const struct od_obj *o);
/* The symbol that the link gave a section of an object, NULL if it is not there or not to be told apart. */
const struct lk_sym *lk_sym_of(const struct lk *l, struct od_obj *o, const struct od_sym *y, int side);
/* Address of an equal string in read-only data, a multiple of align; 0 none. */
uint64_t lk_find_string(const struct lk *l, const char *s, size_t len, uint64_t align);
bool lk_recorded(const struct lk *l, uint64_t addr);
unsigned lk_sympos(const struct lk *l, const struct lk_sym *y);
#endif
