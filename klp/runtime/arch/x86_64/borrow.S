/* SPDX-License-Identifier: Apache-2.0 */
/*
 * klp_rt_borrow: what a borrowed thread runs to start the helper. Entered with every signal blocked, %r12 = struct klp_rt_borrow;
 * uses no stack at all, leaves by rt_sigreturn through a frame that was complete before the thread came here:
 *
 *	clone(VM|FS|FILES|SIGHAND|THREAD|SYSVSEM|SETTLS, top of cb->stack, tls = 0)
 *	child:	klp_rt_helper(cb), never returns
 *	parent:	cb->borrow_result = result
 *		rt_sigpending(&cb->borrow_pending)		; last thing before it goes home (hazard A2)
 *		for each pending signal that the thread's own mask lets through:
 *			rt_sigaction(signal, NULL, &scratch)	; a handler, and no SA_RESTART or a call that never restarts?
 *				-> rsp = frame_eintr		; the interrupted call returns -EINTR
 *		rsp = frame_restart				; the interrupted call goes on
 *		rt_sigreturn
 */
#define B_CB		0
#define B_RESTART	24
#define B_EINTR		32
#define B_MASK		40
#define B_ALWAYS	48
#define B_HAS_CALL	56
#define CLONE_FLAGS	0xd0f00	/* VM 100, FS 200, FILES 400, SIGHAND 800, THREAD 10000, SYSVSEM 40000, SETTLS 80000 */
#define SA_RESTART	0x10000000

	.section .text.klp_rt_borrow, "ax", @progbits
	.globl	klp_rt_borrow
	.hidden	klp_rt_borrow
	.type	klp_rt_borrow, @function
klp_rt_borrow:
	.cfi_startproc
	.cfi_undefined %rip
	movq	B_CB(%r12), %rbp
	movl	$CLONE_FLAGS, %edi
	movq	64(%r12), %rsi		/* stack_top */
	xorl	%edx, %edx
	xorl	%r10d, %r10d
	xorl	%r8d, %r8d
	movl	$56, %eax
	syscall
	testq	%rax, %rax
	jz	.Lchild
	movq	72(%r12), %rbx		/* address of cb->borrow_result */
	movl	%eax, (%rbx)
.Lpending:
	movq	80(%r12), %rbx		/* scratch: pending set, then struct sigaction of the kernel */
	movq	%rbx, %rdi
	movl	$8, %esi
	movl	$127, %eax
	syscall
	testq	%rax, %rax
	jnz	.Lhome
	cmpq	$0, B_HAS_CALL(%r12)
	je	.Lhome
	movq	B_MASK(%r12), %r13
	notq	%r13
	andq	(%rbx), %r13
.Lnext:
	bsfq	%r13, %r14
	jz	.Lhome
	btrq	%r14, %r13
	leaq	1(%r14), %rdi
	xorl	%esi, %esi
	movq	%rbx, %rdx
	movl	$8, %r10d
	movl	$13, %eax
	syscall
	testq	%rax, %rax
	jnz	.Lnext
	cmpq	$1, (%rbx)		/* SIG_DFL, SIG_IGN: nothing that would interrupt the call */
	jbe	.Lnext
	cmpq	$0, B_ALWAYS(%r12)
	jne	.Leintr
	testl	$SA_RESTART, 8(%rbx)
	jnz	.Lnext
.Leintr:
	movq	B_EINTR(%r12), %rsp
	jmp	.Lreturn
.Lhome:
	movq	B_RESTART(%r12), %rsp
.Lreturn:
	movl	$15, %eax
	syscall
	ud2
.Lchild:
	xorl	%ebp, %ebp
	movq	B_CB(%r12), %rdi
	call	klp_rt_helper
	ud2
	.cfi_endproc
	.size	klp_rt_borrow, . - klp_rt_borrow

/*
 * klp_rt_callback: the same way home, but first the callback that cb->callback describes. It is ordinary code of the program, so it runs on the
 * thread's own stack, below its red zone; the engine has aligned the stack pointer and seen that there is room.
 */
	.globl	klp_rt_callback
	.hidden	klp_rt_callback
	.type	klp_rt_callback, @function
klp_rt_callback:
	.cfi_startproc
	.cfi_undefined %rip
	cld
	xorl	%ebp, %ebp
	movq	B_CB(%r12), %rdi
	call	klp_rt_callback_run
	jmp	.Lpending
	.cfi_endproc
	.size	klp_rt_callback, . - klp_rt_callback
	.section .note.GNU-stack, "", @progbits
