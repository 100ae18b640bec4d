/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_RT_RISCV64_REGS_H
#define KLP_RT_RISCV64_REGS_H

#include <stdint.h>

struct klp_rt_regs {
	uint64_t a0_7[8];
	uint64_t t2_6[5];
	uint64_t pad;
	uint64_t record;      /* the site record */
	uint64_t pc;          /* the saved PC: where the intercepted call goes on; dispatch rewrites it */
	uint64_t frame, stub; /* the trampoline's frame record: the other one, and where in the stub it goes back to */
	uint64_t fp;          /* the patched function's frame record: the caller's s0 */
	uint64_t ret;         /* ... and the program's own return address: never changed */
};
_Static_assert(sizeof(struct klp_rt_regs) == 160, "FRAME of trampoline.S");
_Static_assert(__builtin_offsetof(struct klp_rt_regs, t2_6) == 64 &&
		   __builtin_offsetof(struct klp_rt_regs, record) == 112 &&
		   __builtin_offsetof(struct klp_rt_regs, pc) == 120 &&
		   __builtin_offsetof(struct klp_rt_regs, stub) == 136 &&
		   __builtin_offsetof(struct klp_rt_regs, fp) == 144 &&
		   __builtin_offsetof(struct klp_rt_regs, ret) == 152,
	       "trampoline.S");

#endif
