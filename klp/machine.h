/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine that this libklp serves: the host's. Its engine part is arch/<name>/, its runtime part
 * runtime/arch/<name>/. arch/<name>/machine.h defines:
 *
 *	KLP_HOST_MACHINE	ELF machine number
 *	KLP_HOST_AUDIT		the same for seccomp filters
 *	KLP_DWARF_SP		DWARF number of the stack pointer
 *	KLP_RED_ZONE		bytes below the stack pointer that belong to the interrupted function
 *	KLP_NEAR_REACH		how far klp's memory may be from the object that it serves
 *	KLP_TEXT_FILL		what lies between functions: bytes of an instruction that traps
 *	KLP_USER_END		end of the addresses that mmap gives
 *	KLP_GADGET_LEN, KLP_RESTORER_LEN	bytes of the instructions that klp_frame_gadgets finds
 *	KLP_FRAME_RETURN	how far the stack pointer of rt_sigreturn lies above a frame's address
 *	KLP_TCB_DELTA_OK(delta)	may the robust list's head lie so far above the thread pointer?
 *	struct klp_registers	of a stopped thread
 */
#ifndef KLP_MACHINE_H
#define KLP_MACHINE_H

#if defined(__x86_64__)
#include "klp/arch/x86_64/machine.h"
#include "klp/runtime/arch/x86_64/cpu.h"
#elif defined(__aarch64__)
#include "klp/arch/aarch64/machine.h"
#include "klp/runtime/arch/aarch64/cpu.h"
#elif defined(__riscv)
#include "klp/arch/riscv64/machine.h"
#include "klp/runtime/arch/riscv64/cpu.h"
#endif

#include "klp/include/klp/error.h"

/* Can klp patch at all on this kernel and processor? (arch/<name>/machine.c) */
int klp_machine_check(struct klp_error *e);

#endif
