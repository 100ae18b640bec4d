/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_RT_X86_64_REGS_H
#define KLP_RT_X86_64_REGS_H

#include <stdint.h>

struct klp_rt_regs {
	uint64_t rbp, rax, rcx, rdx, rsi, rdi, r8, r9, r10;
	uint64_t record; /* r11: the site record */
	uint64_t pc;     /* the saved PC: where the intercepted call goes on; dispatch rewrites it */
	uint64_t ret;    /* the program's own return address: never changed */
};
_Static_assert(sizeof(struct klp_rt_regs) == 96, "FRAME_CFA of trampoline.S");

#endif
