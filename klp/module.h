/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A patch module: reading and checking the file (docs/module-format.md). Everything in it is hostile.
 */
#ifndef KLP_MODULE_H
#define KLP_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>
#include "klp/include/klp/error.h"
#include "klp/process.h"

#define KLP_MODULE_MAX_SIZE (64u << 20)
#define KLP_MODULE_MAX_OBJECTS 32u
#define KLP_MODULE_MAX_FUNCTIONS 1024u /* of all objects together */
#define KLP_MODULE_MAX_SYMBOLS 65536u
#define KLP_MODULE_MAX_RANGES 16u
#define KLP_MODULE_MAX_STATES 256u
/* struct klp_state_ of <klp/patch.h>: id, version, and two fields that the engine fills in. */
#define KLP_STATE_RECORD_SIZE 24u
#define KLP_STATE_RECORD_PREVIOUS 8u
#define KLP_STATE_RECORD_DATA 16u
#define KLP_NAME_MAX 512u

struct klp_range {
	uint64_t start, end;
};

struct klp_module_function {
	char *name, *file;      /* file: the STT_FILE symbol for local functions, "" for global */
	unsigned sympos;        /* 1-based among equal (name, file); 0 = unique */
	uint64_t address, size; /* file vaddr of the original in the running file */
	uint64_t recorded;      /* its __patchable_function_entries address, file vaddr */
	bool exported;          /* has a dynamic symbol: preemption is checked at load */
	struct klp_range range[KLP_MODULE_MAX_RANGES]; /* all of its code, cold parts included, file vaddrs */
	size_t range_count;
	char *replacement;  /* symbol in the module */
	uint8_t digest[32]; /* SHA-256 of the original bytes [address, address + size) in the file */
	bool has_digest;
};

/* When the engine has a thread of the target run a function of the patch; the numbers are in a target's control block.
 */
enum klp_callback {
	KLP_CALLBACK_PRE_PATCH,
	KLP_CALLBACK_POST_PATCH,
	KLP_CALLBACK_PRE_UNPATCH,
	KLP_CALLBACK_POST_UNPATCH,
	KLP_CALLBACK_KINDS
};
/* "pre_patch"; "callback" for a number that is none. */
const char *klp_callback_name(unsigned kind);

struct klp_module_object {
	char *name; /* soname or base name, for messages */
	uint8_t build_id[KLP_BUILD_ID_MAX];
	size_t build_id_len;
	struct klp_module_function *function;
	size_t function_count;
	char *callback[KLP_CALLBACK_KINDS]; /* symbols in the module, NULL: none */
};

/* What the patches of one kind of state call it by, and how old this patch's knowledge of it is. */
struct klp_module_state {
	uint32_t id, version;
	char *symbol; /* of a struct klp_state_ (<klp/patch.h>) in the module's data */
};

enum klp_symbol_how { KLP_SYM_ADDRESS, KLP_SYM_DYNAMIC, KLP_SYM_TLS, KLP_SYM_RUNTIME };
struct klp_module_symbol {
	char *name, *version;
	enum klp_symbol_how how;
	bool function;
	unsigned object;
	uint64_t address;  /* ADDRESS: file vaddr; TLS: offset in the object's PT_TLS */
	uint64_t got, plt; /* DYNAMIC: file vaddr of the object's own GOT slot and PLT entry, 0 none */
	uint64_t got_tls;  /* TLS: the object's own TPOFF or DTPMOD/TLSDESC slot, 0 none */
	bool has_address;  /* TLS: address is known; else only the slot tells */
};

struct klp_module { /* opaque to users of <klp/klp.h> */
	char *path; /* NULL when read from a target */
	uint8_t *image;
	size_t size;        /* the ELF file; NULL when only the metadata is known */
	uint8_t digest[32]; /* SHA-256 of the file */
	char *name, *description;
	uint16_t machine;
	json_t *meta; /* the parsed metadata */
	char *meta_text;
	size_t meta_len;
	struct klp_module_object *object;
	size_t object_count;
	struct klp_module_symbol *symbol;
	size_t symbol_count;
	struct klp_module_state *state;
	size_t state_count;
	bool coupled;    /* some function is in the patch only because of another one */
	bool exceptions; /* C++ or -fexceptions code that could unwind through a module frame */
	json_t *labels;  /* array of strings that the patch is known by (CVE numbers), NULL: none */
	json_t *escapes; /* array of names: why its text cannot be proven unreferenced; empty = reclaimable */
};

int klp_module_read(const char *path, struct klp_module *m, struct klp_error *e);
/* From the metadata alone, as it lies in a target. */
int klp_module_parse_meta(const char *text, size_t len, struct klp_module *m, struct klp_error *e);
void klp_module_free(struct klp_module *m);
/* Of all objects. */
size_t klp_module_functions(const struct klp_module *m);

/* Does it have handlers or cleanups of its own: `exceptions` is true, or its unwind information names a personality
 * routine. */
int klp_module_needs_unwind(const struct klp_module *m, bool *needs, struct klp_error *e);
/* Invariant L3: 0, or -EOPNOTSUPP/KLP_NO_UNWIND_INFO for such a module where the process's unwinder cannot be told of
 * it (klp/unwinder.h). */
int klp_module_check_unwind(const struct klp_module *m, const struct klp_process *p, struct klp_error *e);

#endif
