/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects of one unit as sections with decoded relocations. Built with -ffunction-sections -fdata-sections a
 * section is one function or one datum, so the section is what is compared, decided about and extracted.
 */
#ifndef KLP_OBJDIFF_OBJECT_H
#define KLP_OBJDIFF_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <elf.h>
#include "klp/include/klp/error.h"
#include "tools/klp-build/objdiff/arch.h"

#define OD_MAX_FILE (1u << 30)
#define OD_MAX_SECTIONS 1000000u
#define OD_RESERVED 0xff000000u /* out of the way of real indices */
#define OD_COMMON (OD_RESERVED | SHN_COMMON)

/* Memory that lives until the end of the run; a tool without memory ends with a sentence. */
struct od_pool {
	struct od_pool_block *head;
};
void *od_alloc(struct od_pool *p, size_t count, size_t size);
char *od_printf(struct od_pool *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The array, or a longer copy of it, with room for one element more. */
void *od_room(struct od_pool *p, void *array, size_t count, size_t *room, size_t size);
void od_pool_free(struct od_pool *p);

enum od_kind {
	OD_IGNORE = 0, /* on the ignore list, or not allocated */
	OD_CODE,
	OD_STRINGS, /* mergeable strings: compared by what is referenced */
	OD_CONSTS,  /* mergeable constants: likewise */
	OD_ANON,    /* read-only data that belongs to the function that refers to it */
	OD_RODATA,  /* a named constant */
	OD_DATA,    /* a named variable, initialised or not */
	OD_TLS,
	OD_INIT,   /* runs or is read once, at start or exit */
	OD_EXCEPT, /* language-specific data of the unwinder */
	OD_UNKNOWN,
};

struct od_placed;

struct od_rel {
	uint64_t off;
	uint32_t type, sym;
	int64_t addend;
	size_t order; /* in the file: of several at one place it has a meaning */
	bool named;   /* a high half that low halves of its section name */
};

struct od_sym {
	const char *name;
	uint64_t value, size;
	uint8_t type, bind, vis;
	uint32_t shndx; /* SHN_UNDEF, a section index, or OD_RESERVED with SHN_ABS or SHN_COMMON */
	bool outside;   /* no unit of the program defines it */
};

struct od_sec {
	struct od_obj *obj;
	const char *name;
	uint32_t index, type;
	uint64_t flags, size, align, entsize;
	const uint8_t *data; /* NULL for SHT_NOBITS */
	struct od_rel *rel;  /* sorted by offset */
	size_t rel_count;
	enum od_kind kind;
	uint32_t sym;                          /* the symbol that names it, 0 none */
	struct od_sec *hot;                    /* of a cold part: the function's own section */
	struct od_sec *partner;                /* of code its exception table, of that the (first) code */
	bool pads;                             /* its function has landing pads, where the unwinder goes on in it */
	bool several;                          /* more than one function or datum in it */
	struct od_sec *peer;                   /* the same thing in the other tree */
	bool changed;                          /* it has a peer, and differs from it */
	const char *reason;                    /* why it is in the module */
	bool included;                         /* it is in the module */
	bool unlinked;                         /* the link did not take it */
	bool accepted;                         /* its author states that the change is right */
	bool refused;                          /* a decision about it has been reported */
	bool unwinds;                          /* code that an entry of the module's .eh_frame describes */
	bool constructor;                      /* referred to by an OD_INIT section */
	uint32_t out_shndx, out_sym, out_func; /* in the module's file */
	const char *out_name;
	struct od_placed *placed[2]; /* in the tree's linked file, in the running one; NULL: not looked for yet */
};

struct od_obj {
	const struct od_arch *arch;
	const char *path, *unit;
	const char *file;     /* STT_FILE */
	const char *producer; /* .comment */
	struct od_sec *sec;
	size_t sec_count;
	struct od_sym *sym;
	size_t sym_count;
	bool assembly, cplusplus;
	size_t group[2]; /* of the file's local symbols in the linked original / patched program, 1-based; 0 not looked
			    up */
};

int od_read_file(struct od_pool *p, const char *path, uint8_t **bytes, size_t *len, struct klp_error *e);
int od_load_object(struct od_pool *p, const char *path, const char *unit, struct od_obj *out, struct klp_error *e);

/* The name without what the compiler appended: numbers of static locals and of clones. */
const char *od_base_name(struct od_pool *p, const char *name);
bool od_has_clone_suffix(const char *name);
const char *od_sec_label(const struct od_sec *s);

/* libc.c: how many of the argument registers reach the function of that name; OD_ALL_ARGUMENTS if it is not known. */
#define OD_ALL_ARGUMENTS 64u
unsigned od_argument_count(const char *name);

/* Index of the first relocation at or behind this place of the section. */
size_t od_rel_from(const struct od_sec *s, uint64_t off);
struct od_rel_info od_rel_info(const struct od_sec *s, const struct od_rel *r);
/* The relocation that says what is meant: itself, or of a low half that names its high half that one, which is in *s.
 * NULL: there is none where it should be. */
const struct od_rel *od_rel_meant(const struct od_sec **s, const struct od_rel *r);
bool od_rel_is_got(const struct od_sec *s, const struct od_rel *r);
enum od_use od_rel_use(const struct od_sec *s, const struct od_rel *r);
bool od_only_loads(const struct od_sec *s, const struct od_rel *r);
/*
 * The other half of a reference to the same thing, in the section or another part of its function; NULL none. `exact`:
 * with the same addend, else with any. *in: the part that has it.
 */
const struct od_rel *od_other_half(const struct od_sec *s, const struct od_rel *r, bool exact,
				   const struct od_sec **in);
/* What has to be added to the addend for what an operand of code means. */
int64_t od_rel_bias(const struct od_sec *s, const struct od_rel *r);
#endif
