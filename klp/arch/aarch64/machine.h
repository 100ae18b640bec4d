/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_AARCH64_MACHINE_H
#define KLP_AARCH64_MACHINE_H

#include <linux/audit.h>

#include "klp/arch/prepared/registers.h"

#define KLP_HOST_MACHINE 183u /* EM_AARCH64 */
#define KLP_HOST_AUDIT AUDIT_ARCH_AARCH64
#define KLP_DWARF_SP 31u
#define KLP_RED_ZONE 0u /* AAPCS64 has none */
/* Direct branches reach 128 MiB: of stubs to the bodies, of modules to what they call. Less what arenas may add. */
#define KLP_NEAR_REACH ((128ull << 20) - (1ull << 20))
#define KLP_TEXT_FILL 0                /* udf #0 */
#define KLP_USER_END 0xfffffffff000ull /* 48 bits; less where the kernel has fewer, which mmap says */
#define KLP_GADGET_LEN 8u              /* svc #0; ret */
#define KLP_RESTORER_LEN 12u           /* mov x8, #139; svc #0, and the address behind it */
#define KLP_FRAME_RETURN 0u
#define KLP_FRAME_SP_TO_PC 1 /* words, in the sigcontext: sp, pc */
/* glibc's struct pthread ends at the thread pointer. */
#define KLP_TCB_MAX 8192
#define KLP_TCB_DELTA_OK(delta) ((delta) <= -24 && (delta) >= -KLP_TCB_MAX)

#define KLP_TCB_DTV 0u  /* at the thread pointer is the address of the array of TLS blocks */
#define KLP_TLS_GAP 16u /* from the thread pointer to the first block */

/* For prepared/registers.c. */
#define KLP_CALL_INSN 0xd4000001u /* svc #0 */
#define KLP_INSN_ALIGN 4u
#define KLP_REG_PC(r) ((r)->user.pc)
#define KLP_REG_SP(r) ((r)->user.sp)
#define KLP_REG_LINK(r) ((r)->user.x[30])
#define KLP_REG_CALL(r) ((r)->user.x[8])
#define KLP_REG_ARGS(r) ((r)->user.x)

/* For prepared/frame.c. */
#define KLP_FRAME_SIZE 4736u /* 4688, to a multiple of 64 */
#define KLP_FRAME_REGS 312u  /* x0 */
#define KLP_FRAME_ARGS KLP_FRAME_REGS

struct klp_registers {
	struct {
		uint64_t x[31], sp, pc, pstate;
	} user; /* as PTRACE_GETREGSET has it: NT_PRSTATUS */
	uint64_t thread_pointer;
	struct klp_prepared_call call;
};

#endif
