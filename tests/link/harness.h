/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes modules of freshly compiled objects, as klp-build would: the metadata are added as a section and undefined
 * symbols renamed; then links them against the test's own process, maps them there and calls them.
 */
#ifndef KLP_TEST_LINK_HARNESS_H
#define KLP_TEST_LINK_HARNESS_H

#include <jansson.h>
#include "klp/link.h"
#include "klp/scope.h"
#include "tests/link/target.h"

extern struct klp_process self;
/* The object that is patched: the program or a library. */
const struct klp_object *object_of(const void *address);

/* Symbols for the metadata: [{"name", "how", ...}]. The helpers return one entry. */
json_t *symbol_address(const struct klp_object *o, const char *name, const char *type, const void *address);
/* Through the object's own slot if with_slot; *plt: file address of its PLT entry. */
json_t *symbol_dynamic(const struct klp_object *o, const char *name, const char *type, int with_slot, uint64_t plt);
json_t *symbol_tls(const char *name, uint64_t offset, uint64_t slot);
/* File address of the slot for `name` ("" for those without a symbol) of one of the given relocation types, 0 none. */
uint64_t slot_of(const struct klp_object *o, const char *name, uint32_t type);

/* Metadata that are complete, for the replacement of t_old by m_run. Takes over symbols. */
json_t *metadata(const struct klp_object *o, json_t *symbols);
/* Writes object + metadata to a new file; the caller frees the name and unlinks it. Takes over meta. */
char *make_module(const char *object, json_t *meta);
char *make_module_text(const char *object, json_t *symbols, const char *text, size_t len);

struct loaded {
	struct klp_module m;
	struct klp_linked l;
	run_fn run;
};
/* A free address that the object reaches. */
uint64_t near_base(const struct klp_object *o, uint64_t size);
/* Reads, links near the object, maps and protects. Returns what klp_link does; e says why not. */
int load(const char *object, const struct klp_object *o, json_t *symbols, struct loaded *out, struct klp_error *e);
void unload(struct loaded *l);

/* Relocation types that were in linked sections of modules that ran. */
extern unsigned char seen[256];
/* AddressSanitizer's runtime stands before the C library in every lookup, and wants to be preloaded first. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
#endif

#endif
