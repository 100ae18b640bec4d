/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_AARCH64_MACHINE_H
#define KLP_AARCH64_MACHINE_H

#include <linux/audit.h>
#include <stdbool.h>
#include <stdint.h>

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
/* glibc's struct pthread ends at the thread pointer. */
#define KLP_TCB_MAX 8192
#define KLP_TCB_DELTA_OK(delta) ((delta) <= -24 && (delta) >= -KLP_TCB_MAX)

struct klp_registers {
	struct {
		uint64_t x[31], sp, pc, pstate;
	} user; /* as PTRACE_GETREGSET has it: NT_PRSTATUS */
	uint64_t thread_pointer;
	/* The call that the stop has interrupted. */
	int64_t call; /* -1: none */
	uint64_t arg[6];
	bool again;     /* the kernel has put pc and x0 back: it will be issued again */
	bool arg_known; /* arg[0] is, though x0 holds the result */
};

#endif
