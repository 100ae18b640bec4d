/* SPDX-License-Identifier: Apache-2.0 */
/* Walks over the functions of the table that each test makes by hand, on machines with a link register. */
#ifndef KLP_TEST_LINK_REGISTER_H
#define KLP_TEST_LINK_REGISTER_H

#include "unwind/internal.h"

struct link_machine {
	struct klp_unw_space *(*space)(void);
	/* From pc, with so many words of the stack below sp; link: the link register, 0 not known. */
	enum klp_reason (*walk)(struct klp_unw_space *s, uint32_t pc, unsigned word, uint64_t link);
	/* A frame of 4 words below `above`, which returns to pc. */
	unsigned (*push)(unsigned above, uint64_t pc);
	const struct klp_unw_trace *trace; /* of the last walk */
};

/* Functions: 0x000 the outermost one, 0x100 one with a frame of 4 words, 0x200 a leaf, 0x600 one whose frame has no
 * return address in it. */
void check_link_register(const struct link_machine *m);

#endif
