/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal frames that a stopped thread goes home with, and the gadgets in the target's text that make its first system
 * calls. One per architecture: arch/<name>/frame.c. Source: the kernel's arch/x86/include/uapi/asm/sigcontext.h and
 * arch/x86/kernel/signal_64.c.
 */
#ifndef KLP_FRAME_H
#define KLP_FRAME_H

#include <sys/user.h>
#include "klp/process.h"
#include "klp/runtime/rt.h"
#include "unwind/unwind.h"

/* Bytes of a complete frame of this stopped thread, its address aligned to 64; 0 if its state cannot be had. */
size_t klp_frame_size(pid_t tid);
/* Without extended state: for a frame that only makes the next call; another frame restores the rest. Multiple of 64.
 */
size_t klp_frame_bare_size(void);
/* The frame at `at` that restores regs, mask and the thread's extended state. `at` is what the stack pointer must be
 * for the restorer's `ret`. */
int klp_frame_build(pid_t tid, const struct user_regs_struct *regs, uint64_t mask, uint64_t restorer, uint64_t at,
		    uint8_t *out, size_t len);
int klp_frame_build_bare(const struct user_regs_struct *regs, uint64_t mask, uint64_t restorer, uint64_t at,
			 uint8_t *out, size_t len);
/* Where in a frame the register is that holds a system call's argument, counted from 0; 0: not known. */
size_t klp_frame_argument(unsigned arg);
/* Registers that go on at pc as code there expects them, and restart no system call; others stay. */
void klp_enter_registers(struct user_regs_struct *regs, uint64_t pc);
/* Registers that make a system call at the gadget; others stay. */
void klp_call_registers(struct user_regs_struct *regs, long nr, const uint64_t arg[6], uint64_t gadget);
/* "syscall; ret" and "rt_sigreturn" in executable text of the target. */
int klp_frame_gadgets(const struct klp_process *p, uint64_t *gadget, uint64_t *restorer, struct klp_error *e);
/* The stopped thread may be inside a restartable sequence. */
bool klp_frame_in_rseq(pid_t tid, const struct klp_process *p);

/* All registers of a stopped thread, for the unwinder. */
void klp_registers_for_unwind(const struct user_regs_struct *r, struct klp_unw_regs *out);
/* Those of the caller of a function that is being entered, from the trampoline's frame at `at` in the target. */
void klp_registers_at_entry(const struct klp_rt_regs *r, uint64_t at, struct klp_unw_regs *out);

#endif
