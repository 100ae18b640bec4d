/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patch sites: where a function's entry NOPs are, whether they can be armed by single stores that leave a valid
 * instruction stream for a thread at any PC (invariant S1), and the sequence of those stores.
 *
 * `arch` is everywhere the ELF machine number (EM_X86_64).
 *
 * A pure library on byte arrays. Each architecture fills the contract `struct klp_site_arch` in arch/<name>/site.c.
 */
#ifndef KLP_PATCHSITE_H
#define KLP_PATCHSITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "klp/include/klp/error.h"

/* Layouts; stored in the target's site records, so the numbers are fixed. */
enum klp_site_layout {
	KLP_SITE_NONE = 0,
	KLP_SITE_X86_ENTRY1 = 1, /* 90 [90 90] at entry+1 -> EB F5 -> entry-8: default flags 19,16 */
	KLP_SITE_X86_ENTRY0 =
	    2, /* [90 90] at entry -> EB F8 -> entry-6: 16,14; a uprobe at the symbol bypasses it (S4) */
	KLP_SITE_X86_ENDBR = 3,        /* ENDBR64 [90 90] at entry+4 -> EB F5 -> entry-5 */
	KLP_SITE_X86_ENTRY0_2BYTE = 4, /* [66 90] at entry, one instruction (clang) -> 66 F8 -> EB F8; weak as ENTRY0 */
	KLP_SITE_X86_ENTRY1_2BYTE = 5, /* 90 [66 90] at entry+1, else as ENTRY1 */
	KLP_SITE_X86_ENDBR_2BYTE = 6,  /* ENDBR64 [66 90] at entry+4, else as ENDBR */
	KLP_SITE_A64_NOP = 16,         /* nop [nop] at entry+4 -> b prefix: default flags 6,4 */
	KLP_SITE_A64_BTI = 17,         /* bti c [nop] at entry+4 -> b prefix */
	KLP_SITE_RV_NOP = 32,          /* nop [nop] at entry+4 -> jal prefix: 8,6 without the C extension */
	KLP_SITE_RV_CNOP = 33,         /* c.nop [c.nop] at entry+2 -> c.j entry-64: 34,32 with it */
};

struct klp_site {
	enum klp_site_layout layout;
	bool weak_to_uprobe;  /* S4: reported at load */
	uint64_t entry;       /* the symbol */
	uint64_t site;        /* first byte that arming changes */
	uint64_t body;        /* first instruction behind the site's jump */
	uint64_t prefix;      /* first byte that the PLT entry may use */
	uint32_t prefix_len;  /* bytes from prefix to entry that are the NOPs of this function's table entry */
	uint64_t jump_target; /* where the armed site jumps to: the PLT entry's first instruction */
};

/*
 * One store of an arming sequence, compared before with `expect` (S2), followed by a core sync (S3). width bytes, in
 * the order of memory, at a multiple of width: 1, or 4 where the architecture's arch/<name>/site.c says why that is
 * single-copy atomic (S1).
 */
#define KLP_SITE_STORE_MAX 4
struct klp_site_store {
	uint64_t addr;
	uint8_t width;
	uint8_t expect[KLP_SITE_STORE_MAX], value[KLP_SITE_STORE_MAX];
};
#define KLP_SITE_MAX_STORES 4

enum klp_site_state {
	KLP_STATE_DORMANT,
	KLP_STATE_PARTIAL,
	KLP_STATE_ARMED,
	KLP_STATE_BYPASSED,
	KLP_STATE_FOREIGN,
	KLP_STATE_GONE /* its object is no longer mapped there (klp/gone.h): not known from the bytes at the symbol */
};

/*
 * Finds the site of the function whose symbol is at `entry`. recorded: the address in __patchable_function_entries that
 * belongs to it (its first prefix NOP; with M = 0 the first entry NOP), 0 if there is none (KLP_NO_SITE). code holds
 * the bytes [code_addr, code_addr + code_len), dormant (as in the file); it must cover [recorded, entry + 16). Every
 * input is hostile. 0 or -errno with KLP_NO_SITE, KLP_PREFIX_TOO_SMALL, KLP_SITE_MISALIGNED, KLP_SITE_UNKNOWN.
 */
int klp_site_decode(unsigned arch, uint64_t entry, uint64_t recorded, const uint8_t *code, uint64_t code_addr,
		    size_t code_len, struct klp_site *out, struct klp_error *e);

/*
 * Takes a breakpoint at the symbol's own instruction (a uprobe: S4) back in a copy of the code, where the instruction
 * that it replaced can be told: the first NOP or the landing pad. entry: the symbol's offset in code. true if there was
 * one.
 */
bool klp_site_hide_probe(unsigned arch, uint8_t *code, size_t len, size_t entry);

/* The stores that arm a dormant site (in order), and those that disarm an armed one. Returns how many. */
size_t klp_site_arm_stores(unsigned arch, const struct klp_site *s, struct klp_site_store out[KLP_SITE_MAX_STORES]);
size_t klp_site_disarm_stores(unsigned arch, const struct klp_site *s, struct klp_site_store out[KLP_SITE_MAX_STORES]);

/* What the bytes [entry, entry + 8) say now. *done = how many stores of the arming sequence are in place (PARTIAL).
 * BYPASSED: armed, but the symbol's own instruction has been replaced in a way that skips it; FOREIGN: somebody else's
 * bytes. */
enum klp_site_state klp_site_state(unsigned arch, const struct klp_site *s, const uint8_t *entry_bytes, size_t len,
				   size_t *done);

/* A site from what is kept of it (a site record in a target): everything but jump_target, which is needed only to
 * choose a PLT entry. */
void klp_site_restore(unsigned arch, enum klp_site_layout layout, uint64_t entry, uint64_t body, uint64_t prefix,
		      uint32_t prefix_len, struct klp_site *out);

const char *klp_site_layout_name(enum klp_site_layout layout);

/*
 * Reads __patchable_function_entries of a linked ELF file (or relocatable object: relocations applied to section
 * symbols) and pairs every recorded address with the function symbol it belongs to. Used by klp-build, `klpctl sites`,
 * tests. A function without a table entry is listed with recorded = 0. reason is KLP_OK if `site` describes an atomic
 * site, else why not. In a relocatable object sections have no address; there an address is
 * KLP_SITE_OBJECT_ADDR(section index, offset).
 */
#define KLP_SITE_OBJECT_ADDR(section, offset) (((uint64_t)(section) << 32) + (uint32_t)(offset))
struct klp_site_list_entry {
	const char *name;
	uint64_t entry, size, recorded;
	enum klp_reason reason;
	struct klp_site site;
};
struct klp_site_list {
	size_t count;
	struct klp_site_list_entry *entry;
	size_t unnamed; /* recorded addresses that belong to no function symbol, as all in a stripped file */
	void *owner;
};
int klp_site_list_file(const char *path, struct klp_site_list *out, struct klp_error *e);
void klp_site_list_free(struct klp_site_list *l);

#endif
