/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal frames that a stopped thread goes home with, and the gadgets in the target's text that make its first system
 * calls. One per architecture: arch/<name>/frame.c. Source: the kernel's arch/<name>/include/uapi/asm/sigcontext.h and
 * arch/<name>/kernel/signal.c.
 */
#ifndef KLP_FRAME_H
#define KLP_FRAME_H

#include "klp/registers.h"

/* What is to be known of the machine, before a thread is stopped; no thread is to wait for it. Any number of times. */
void klp_frame_prepare(void);
/* Bytes of a complete frame of this stopped thread, its address aligned to 64; 0 if its state cannot be had. */
size_t klp_frame_size(pid_t tid);
/* Without extended state: for a frame that only makes the next call; another frame restores the rest. Multiple of 64.
 */
size_t klp_frame_bare_size(void);
/* The frame at `at` that restores regs, mask and the thread's extended state. `at` is what the stack pointer must be
 * for the restorer's `ret`. */
int klp_frame_build(pid_t tid, const struct klp_registers *regs, uint64_t mask, uint64_t restorer, uint64_t at,
		    uint8_t *out, size_t len);
int klp_frame_build_bare(const struct klp_registers *regs, uint64_t mask, uint64_t restorer, uint64_t at, uint8_t *out,
			 size_t len);
/* Where in a frame the register is that holds a system call's argument, counted from 0; 0: not known. */
size_t klp_frame_argument(unsigned arg);
/* A system call with a return behind it, and rt_sigreturn, in executable text of the target. */
int klp_frame_gadgets(const struct klp_process *p, uint64_t *gadget, uint64_t *restorer, struct klp_error *e);

/* klp/frame.c, for all of them. */
/* Where these bytes are in executable text that nobody can write, at a multiple of align; in the vDSO too or in files
 * only. 0: nowhere. */
uint64_t klp_frame_find_code(const struct klp_process *p, const uint8_t *want, size_t len, size_t align, bool vdso);
/* The stopped thread may be inside a restartable sequence. */
bool klp_frame_in_rseq(pid_t tid, const struct klp_process *p);

#endif
