/* SPDX-License-Identifier: Apache-2.0 */
/* The unwind tables of an ELF image as it lies in memory: executable, library or vDSO; no file is needed. */
#ifndef KLP_UNWIND_IMAGE_H
#define KLP_UNWIND_IMAGE_H

#include "unwind/unwind.h"

/*
 * Fills text_start/text_end, the tables and, when o->libc is set by the caller, the bytes of the text; entry = 0. name
 * and libc are left as the caller set them. *storage owns the bytes that *o points to: free() it after
 * klp_unw_add_object(). Everything that is read is hostile. 0 or -errno; an image without PT_GNU_EH_FRAME is no failure
 * (it has no rows).
 */
int klp_unw_object_from_memory(uint64_t load_address_of_ehdr, klp_unw_read_fn read, void *ctx, struct klp_unw_object *o,
			       void **storage, struct klp_error *e);

/* One FDE: the code that it describes, and its own address. */
struct klp_unw_function {
	uint64_t start, end, fde;
};
/* The FDEs of a linked .eh_frame that lies at addr, of code in [text_start, text_end): sorted, those that overlap left
 * out. free() the list. Hostile input: what makes no sense is no entry. */
int klp_unw_list_fdes(const void *eh_frame, size_t len, uint64_t addr, uint64_t text_start, uint64_t text_end,
		      struct klp_unw_function **list, size_t *count, struct klp_error *e);

#endif
