/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entry trampolines of x86_64.
 *
 * A patched function's prefix jumps through its slot; while a transition runs the slot leads to the function's stub, which is
 * the call site of ftrace:
 *
 *	caller:	call victim			; pushes the program's return address
 *	victim:	nop				; untouched (invariant S4)
 *		jmp  victim-8			; the armed site
 *	victim-8: jmp *slot(%rip)		; the PLT entry
 *	stub:	lea  record(%rip), %r11		; whose entry this is: struct klp_rt_site
 *		jmp  *trampoline_word(%rip)
 *
 * Here, with S the caller's %rsp as the function would see it (S[0] is the return address), the frame becomes
 *
 *	S + 0	ret	the program's own return address, never changed
 *	S - 8	pc	the saved PC: site->body until the ops rewrites it
 *	S - 16	r11	the site record
 *	S - 24	r10	static chain
 *	S - 32	r9
 *	S - 40	r8
 *	S - 48	rdi
 *	S - 56	rsi
 *	S - 64	rdx
 *	S - 72	rcx
 *	S - 80	rax	al: number of vector arguments
 *	S - 88	rbp	<- struct klp_rt_regs begins here
 *
 * and everything is put back before `jmp *-8(%rsp)`: the word below the stack pointer is inside the red zone, where no signal
 * handler writes. Nothing is returned to by a changed return address, so the return predictor and a shadow stack stay balanced.
 *
 * rbx and r12-r15 are kept by the C code; vector, x87 and mask registers because the runtime has no instruction that touches
 * them. The flags are dead at a function's entry, the direction flag is clear there (psABI). The stack is aligned here: gcc may
 * call a local function with a misaligned one.
 */
#define SITE_OPS	8
#define SITE_BODY	64
#define FRAME_CFA	96	/* from the struct klp_rt_regs to the CFA, S + 8 */

	.macro	SAVE
	.cfi_startproc
	pushq	SITE_BODY(%r11)
	.cfi_adjust_cfa_offset 8
	.irp	reg, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax, rbp
	pushq	%\reg
	.cfi_adjust_cfa_offset 8
	.endr
	.cfi_rel_offset %rbp, 0
	movq	%rsp, %rbp
	.cfi_def_cfa %rbp, FRAME_CFA
	.endm

	/* In: %rbp, the struct klp_rt_regs. */
	.macro	DISPATCH_AND_LEAVE
	andq	$-16, %rsp
	movq	%r11, %rdi
	movq	%rbp, %rsi
	movq	SITE_OPS(%r11), %rax
	call	*(%rax)
	movq	%rbp, %rsp
	.cfi_def_cfa %rsp, FRAME_CFA
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore %rbp
	.irp	reg, rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
	popq	%\reg
	.cfi_adjust_cfa_offset -8
	.endr
	leaq	8(%rsp), %rsp
	.cfi_adjust_cfa_offset -8
	jmp	*-8(%rsp)
	.cfi_endproc
	.endm

/* Recorded below the structure:
 *	((uint64_t *)regs)[-1] rbx, [-2] r12, [-3] r13, [-4] r14, [-5] r15
 */
	.macro	SAVE_THE_REST
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	.endm

#include "klp/runtime/trampolines.h"
