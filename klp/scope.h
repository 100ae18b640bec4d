/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dynamic linker's view of a process, rebuilt from the target's memory: the objects in the order of its link map,
 * each one's dynamic symbols, hash tables, versions and relocations, and the look-up of a name as the dynamic linker
 * does it.
 */
#ifndef KLP_SCOPE_H
#define KLP_SCOPE_H

#include <elf.h>
#include "klp/process.h"

#define KLP_SCOPE_MAX_OBJECTS 4096u
#define KLP_SCOPE_MAX_TAGS 512u   /* entries of one dynamic section */
#define KLP_SCOPE_MAX_NEEDED 256u /* DT_NEEDED of one object */
#define KLP_SCOPE_MAX_VERSIONS 65536u
#define KLP_SCOPE_MAX_CHAIN 65536u    /* symbols looked at in one hash bucket */
#define KLP_SCOPE_MAX_RELA (4u << 20) /* relocations of one table */
#define KLP_SCOPE_MAX_SYMBOL 4096u    /* length of a symbol's name */

/* Relocations of one table, read at first use. */
struct klp_rela_table {
	uint64_t addr, size;
	Elf64_Rela *rela;
	size_t count;
	bool read;
};

struct klp_dso {
	const struct klp_object *o;
	uint64_t symtab, strtab, strsz, hash, gnu_hash, versym, verdef, verdef_count, verneed, verneed_count, debug;
	struct klp_rela_table rela, jmprel;
	uint64_t soname; /* offset in strtab, 0 none */
	uint64_t needed[KLP_SCOPE_MAX_NEEDED];
	size_t needed_count;
	bool startup; /* loaded with the program: in everybody's scope */
};

struct klp_scope {
	const struct klp_process *p;
	struct klp_dso *dso;
	size_t count; /* link map order; [0] is the main executable */
};

struct klp_definition {
	struct klp_dso *dso;
	Elf64_Sym sym;
	size_t index;   /* in dso's dynamic symbol table */
	uint64_t value; /* run-time address; TLS: offset */
	bool plt;       /* an undefined function whose canonical address is the executable's PLT entry */
};

/* KLP_BUSY: libraries come and go all the time. What has gone since is to be met later: reading it fails with -EFAULT.
 */
int klp_scope_open(const struct klp_process *p, struct klp_scope *s, struct klp_error *e);
void klp_scope_close(struct klp_scope *s);
struct klp_dso *klp_scope_dso(struct klp_scope *s, const struct klp_object *o);

/* In one object. version "" or NULL: the default one. 1 found, 0 not, -errno. */
int klp_dso_lookup(const struct klp_scope *s, struct klp_dso *d, const char *name, const char *version,
		   bool for_address, struct klp_definition *def, struct klp_error *e);
/* As the dynamic linker would for a reference from *from. 1, 0 or -errno (KLP_AMBIGUOUS when it depends on how objects
 * were dlopen'ed). */
int klp_scope_lookup(struct klp_scope *s, const struct klp_dso *from, const char *name, const char *version,
		     bool for_address, struct klp_definition *def, struct klp_error *e);

/* The relocation that filled in the word at file address `slot`. *index: its place in DT_JMPREL, SIZE_MAX if it is from
 * DT_RELA. 1, 0, -errno. */
int klp_dso_slot(const struct klp_scope *s, struct klp_dso *d, uint64_t slot, Elf64_Rela *rela, size_t *index,
		 struct klp_error *e);
int klp_dso_read_rela(const struct klp_scope *s, struct klp_dso *d, struct klp_rela_table *t, struct klp_error *e);
int klp_dso_symbol(const struct klp_scope *s, const struct klp_dso *d, size_t index, Elf64_Sym *sym,
		   char name[KLP_SCOPE_MAX_SYMBOL], struct klp_error *e);

/* The version that a symbol of this object defines or asks for, "" for none. */
int klp_dso_version_name(const struct klp_scope *s, const struct klp_dso *d, size_t index,
			 char name[KLP_SCOPE_MAX_SYMBOL], struct klp_error *e);

#endif
