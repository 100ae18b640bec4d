/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_RISCV64_MACHINE_H
#define KLP_RISCV64_MACHINE_H

#include <linux/audit.h>

#include "klp/arch/prepared/registers.h"

#define KLP_HOST_MACHINE 243u /* EM_RISCV */
#define KLP_HOST_AUDIT AUDIT_ARCH_RISCV64
#define KLP_DWARF_SP 2u
#define KLP_RED_ZONE 0u /* the psABI has none */
/* auipc and what is behind it reach 2 GiB. Less what modules and arenas may add. */
#define KLP_NEAR_REACH ((2ull << 30) - (16ull << 20))
#define KLP_TEXT_FILL 0                /* 00 00 is no instruction, and never will be */
#define KLP_USER_END 0x7ffffffff000ull /* 47 bits, what mmap gives by itself; less where the kernel has fewer */
#define KLP_GADGET_LEN 8u              /* ecall; ret */
#define KLP_RESTORER_LEN 12u           /* li a7, 139; ecall, and the address behind it */
#define KLP_FRAME_RETURN 0u
#define KLP_FRAME_SP_TO_PC (-2) /* words, in the sigcontext: pc, ra, sp */
/* glibc's struct pthread ends 16 bytes before the thread pointer, where the first TLS block begins. */
#define KLP_TCB_MAX 8192
#define KLP_TCB_DELTA_OK(delta) ((delta) <= -24 && (delta) >= -KLP_TCB_MAX)
#define KLP_TCB_DTV 16u /* so far below the thread pointer is the address of the array of TLS blocks */
#define KLP_TLS_GAP 0u  /* from the thread pointer to the first block */

/* /proc/PID/task/TID/syscall tells of a thread that stands still in user code what is in a7 (syscall_get_nr() in the
 * kernel's arch/riscv/include/asm/syscall.h). */
#define KLP_CALL_NUMBER_OF_ANY 1

/* For prepared/registers.c. */
#define KLP_CALL_INSN 0x00000073u /* ecall */
#define KLP_INSN_ALIGN 2u
#define KLP_REG_PC(r) ((r)->user.pc)
#define KLP_REG_SP(r) ((r)->user.x[1])
#define KLP_REG_LINK(r) ((r)->user.x[0])
#define KLP_REG_CALL(r) ((r)->user.x[16])
#define KLP_REG_ARGS(r) ((r)->user.x + 9)

/* For prepared/frame.c. */
#define KLP_FRAME_SIZE 1088u
#define KLP_FRAME_REGS 304u /* pc */
#define KLP_FRAME_ARGS (KLP_FRAME_REGS + 10 * 8)

struct klp_registers {
	struct {
		uint64_t pc, x[31]; /* x1 first */
	} user;                     /* as PTRACE_GETREGSET has it: NT_PRSTATUS; and as a signal frame has it */
	uint64_t thread_pointer;
	struct klp_prepared_call call;
};

#endif
