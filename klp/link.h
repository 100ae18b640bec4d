/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The linker: lays a module, object by object, out for an address in the target, resolves its symbols in the process
 * (L1, L2) and applies its relocations, all outside the target. Writes nothing: the caller maps and copies.
 */
#ifndef KLP_LINK_H
#define KLP_LINK_H

#include "klp/module.h"

enum klp_segment_kind { KLP_SEG_TEXT, KLP_SEG_RODATA, KLP_SEG_DATA, KLP_SEG_META, KLP_SEG_COUNT };
struct klp_segment {
	uint64_t offset, size;
	uint8_t *bytes;
}; /* offset from base, page-aligned; size multiple of the page */

#define KLP_LINK_NO_STATE UINT64_MAX

struct klp_chooser; /* klp/resolve.h */

struct klp_linked {
	uint64_t base, size;
	struct klp_segment seg[KLP_SEG_COUNT]; /* META holds the JSON text, then the function table */
	uint64_t meta_addr, meta_len;
	uint64_t functions_addr; /* uint64_t pairs {site record: filled by the caller, new function}, in META; behind
				    them KLP_CALLBACK_KINDS addresses of callbacks, 0 for none, and one of each state's
				    record */
	uint64_t *new_function;  /* by the index of the object's function: run-time address */
	struct klp_range *new_range;           /* the same: its code in the module */
	uint64_t text_addr, text_len;          /* the executable segment */
	uint64_t eh_frame_addr, eh_frame_size; /* unwind information of the module's code; size 0: none */
	uint64_t fdes_addr; /* array of struct klp_rt_fde in META: what is told to the process's unwinder (L3) */
	size_t fde_count;
	uint64_t names_addr; /* struct klp_rt_names, in META */
	size_t function_count;
	uint64_t *state; /* by state index: where in DATA its record is, KLP_STATE_RECORD_SIZE bytes, or
			    KLP_LINK_NO_STATE: in another object's part */
	size_t state_count;
};

/* Size needed for the module's part for an object (its index in the metadata), before an address is chosen. */
int klp_link_measure(const struct klp_module *m, unsigned object, uint64_t page, uint64_t *size, struct klp_error *e);
/* That part for *o. base: near it (klp_near_find). Calls to functions that the target has are bound to the target's own
 * entry (L1). */
int klp_link(const struct klp_module *m, unsigned object, const struct klp_process *p, const struct klp_object *o,
	     uint64_t base, const struct klp_chooser *chooser, struct klp_linked *out, struct klp_error *e);
void klp_linked_free(struct klp_linked *l);

#endif
