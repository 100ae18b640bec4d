/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_RT_AARCH64_REGS_H
#define KLP_RT_AARCH64_REGS_H

#include <stdint.h>

struct klp_rt_regs {
	uint64_t frame, stub; /* the trampoline's frame record: `fp` below, and where in the stub it goes back to */
	uint64_t x0_8[9];
	uint64_t x10_15[6];
	uint64_t x18;
	uint64_t record; /* the site record */
	uint64_t pc;     /* the saved PC: where the intercepted call goes on; dispatch rewrites it */
	uint64_t fp;     /* the patched function's frame record: the caller's x29 */
	uint64_t ret;    /* ... and the program's own return address: never changed */
};
_Static_assert(sizeof(struct klp_rt_regs) == 176, "FRAME of trampoline.S");
_Static_assert(__builtin_offsetof(struct klp_rt_regs, x10_15) == 88 &&
		   __builtin_offsetof(struct klp_rt_regs, record) == 144 &&
		   __builtin_offsetof(struct klp_rt_regs, pc) == 152 &&
		   __builtin_offsetof(struct klp_rt_regs, fp) == 160,
	       "trampoline.S");

#endif
