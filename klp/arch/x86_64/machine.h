/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_X86_64_MACHINE_H
#define KLP_X86_64_MACHINE_H

#include <linux/audit.h>
#include <sys/user.h>

#define KLP_HOST_MACHINE 62u /* EM_X86_64 */
#define KLP_HOST_AUDIT AUDIT_ARCH_X86_64
#define KLP_DWARF_SP 7u
#define KLP_RED_ZONE 128u
#define KLP_NEAR_REACH ((2ull << 30) - (16ull << 20)) /* rel32, less what modules and arenas may add */
#define KLP_TEXT_FILL 0xcc                            /* int3 */
#define KLP_USER_END 0x7ffffffff000ull
#define KLP_GADGET_LEN 3u    /* syscall; ret */
#define KLP_RESTORER_LEN 10u /* mov $15, %eax; syscall, and the address behind it */
#define KLP_FRAME_RETURN 8u  /* the restorer's address has been popped */
#define KLP_FRAME_SP_TO_PC 1 /* words, in the sigcontext: rsp, rip */
/* glibc's struct pthread begins at the thread pointer. */
#define KLP_TCB_MAX 4096
#define KLP_TCB_DELTA_OK(delta) ((delta) >= 24 && (delta) <= KLP_TCB_MAX)

struct klp_registers {
	struct user_regs_struct user;
};

#endif
