/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that record every register at their entry, with the patchable layout 19,16; and a caller that sets every register.
 * struct snapshot (image_test.c): rax rbx rcx rdx rsi rdi rbp r8 r9 r10 r12 r13 r14 r15 rsp ret stack[4], xmm0-15, which.
 */
	.macro	DUMP name which
	.balign	16
	.fill	16, 1, 0x90
	.globl	\name
	.type	\name, @function
\name:
	.fill	3, 1, 0x90
	leaq	snapshot_now(%rip), %r11
	movq	%rax, 0(%r11)
	movq	%rbx, 8(%r11)
	movq	%rcx, 16(%r11)
	movq	%rdx, 24(%r11)
	movq	%rsi, 32(%r11)
	movq	%rdi, 40(%r11)
	movq	%rbp, 48(%r11)
	movq	%r8, 56(%r11)
	movq	%r9, 64(%r11)
	movq	%r10, 72(%r11)
	movq	%r12, 80(%r11)
	movq	%r13, 88(%r11)
	movq	%r14, 96(%r11)
	movq	%r15, 104(%r11)
	movq	%rsp, 112(%r11)
	.irp	i, 0, 1, 2, 3, 4
	movq	8*\i(%rsp), %rax
	movq	%rax, 120+8*\i(%r11)
	.endr
	.irp	i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movups	%xmm\i, 160+16*\i(%r11)
	.endr
	movq	$\which, 416(%r11)
	ret
	.size	\name, . - \name
	.endm

	.text
	DUMP	victim_dump, 1
	DUMP	victim_dump_new, 2

/* void call_with(const struct snapshot *in, void *stack_top, const void *fn): runs fn on that stack with those registers. */
	.balign	16
	.globl	call_with
	.type	call_with, @function
call_with:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, saved_sp(%rip)
	movq	%rsi, %rsp
	movq	%rdx, target(%rip)
	movq	%rdi, %r11
	.irp	i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movups	160+16*\i(%r11), %xmm\i
	.endr
	movq	0(%r11), %rax
	movq	8(%r11), %rbx
	movq	16(%r11), %rcx
	movq	24(%r11), %rdx
	movq	32(%r11), %rsi
	movq	40(%r11), %rdi
	movq	48(%r11), %rbp
	movq	56(%r11), %r8
	movq	64(%r11), %r9
	movq	72(%r11), %r10
	movq	80(%r11), %r12
	movq	88(%r11), %r13
	movq	96(%r11), %r14
	movq	104(%r11), %r15
	call	*target(%rip)
	movq	saved_sp(%rip), %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
	.size	call_with, . - call_with

	.bss
	.balign	64
	.globl	snapshot_now
snapshot_now:
	.zero	512
saved_sp:
	.quad	0
target:
	.quad	0
	.section .note.GNU-stack, "", @progbits
