/* SPDX-License-Identifier: Apache-2.0 */
/*
 * klp_rt_borrow: what a borrowed thread runs to start the helper. Entered with every signal blocked, s1 = struct klp_rt_borrow;
 * uses no stack at all, leaves by rt_sigreturn through a frame that was complete before the thread came here:
 *
 *	clone(VM|FS|FILES|SIGHAND|THREAD|SYSVSEM|SETTLS, top of cb->stack, tls = 0)
 *	child:	klp_rt_helper(cb), never returns
 *	parent:	cb->borrow_result = result
 *		rt_sigpending(&cb->borrow_pending)		; last thing before it goes home (hazard A2)
 *		for each pending signal that the thread's own mask lets through:
 *			rt_sigaction(signal, NULL, &scratch)	; a handler, and no SA_RESTART or a call that never restarts?
 *				-> sp = frame_eintr		; the interrupted call returns -EINTR
 *		sp = frame_restart				; the interrupted call goes on
 *		rt_sigreturn
 *
 * The kernel keeps every general register over a call but a0.
 */
#define B_CB		0
#define B_RESTART	24
#define B_EINTR		32
#define B_MASK		40
#define B_ALWAYS	48
#define B_HAS_CALL	56
#define B_STACK_TOP	64
#define B_RESULT	72
#define B_SCRATCH	80
#define CLONE_FLAGS	0xd0f00	/* VM 100, FS 200, FILES 400, SIGHAND 800, THREAD 10000, SYSVSEM 40000, SETTLS 80000 */
#define SA_RESTART	0x10000000

	.option	norelax
	.section .text.klp_rt_borrow, "ax", %progbits
	.globl	klp_rt_borrow
	.hidden	klp_rt_borrow
	.type	klp_rt_borrow, %function
klp_rt_borrow:
	.cfi_startproc
	.cfi_undefined ra
	li	a0, CLONE_FLAGS
	ld	a1, B_STACK_TOP(s1)
	li	a2, 0			/* parent_tid */
	li	a3, 0			/* tls */
	li	a4, 0			/* child_tid */
	li	a7, 220
	ecall
	beqz	a0, .Lchild
	ld	s2, B_RESULT(s1)
	sw	a0, 0(s2)
.Lpending:
	ld	s2, B_SCRATCH(s1)	/* pending set, then struct sigaction of the kernel */
	mv	a0, s2
	li	a1, 8
	li	a7, 136
	ecall
	bnez	a0, .Lhome
	ld	t0, B_HAS_CALL(s1)
	beqz	t0, .Lhome
	ld	t1, B_MASK(s1)
	not	t1, t1
	ld	s3, 0(s2)
	and	s3, s3, t1
	li	s4, 0
.Lnext:
	beqz	s3, .Lhome
	addi	s4, s4, 1		/* a signal's number */
	andi	t0, s3, 1
	srli	s3, s3, 1
	beqz	t0, .Lnext
	mv	a0, s4
	li	a1, 0
	mv	a2, s2
	li	a3, 8
	li	a7, 134
	ecall
	bnez	a0, .Lnext
	ld	t0, 0(s2)		/* SIG_DFL, SIG_IGN: nothing that would interrupt the call */
	li	t1, 2
	bltu	t0, t1, .Lnext
	ld	t0, B_ALWAYS(s1)
	bnez	t0, .Leintr
	ld	t0, 8(s2)
	li	t1, SA_RESTART
	and	t0, t0, t1
	bnez	t0, .Lnext
.Leintr:
	ld	t0, B_EINTR(s1)
	j	.Lreturn
.Lhome:
	ld	t0, B_RESTART(s1)
.Lreturn:
	mv	sp, t0
	li	a7, 139
	ecall
	ebreak
.Lchild:
	li	s0, 0
	li	ra, 0
	ld	a0, B_CB(s1)
	call	klp_rt_helper
	ebreak
	.cfi_endproc
	.size	klp_rt_borrow, . - klp_rt_borrow

/*
 * klp_rt_callback: the same way home, but first the callback that cb->callback describes. It is ordinary code of the program, so it runs on the
 * thread's own stack; the engine has aligned the stack pointer and seen that there is room.
 */
	.globl	klp_rt_callback
	.hidden	klp_rt_callback
	.type	klp_rt_callback, %function
klp_rt_callback:
	.cfi_startproc
	.cfi_undefined ra
	li	s0, 0
	li	ra, 0
	ld	a0, B_CB(s1)
	call	klp_rt_callback_run
	j	.Lpending
	.cfi_endproc
	.size	klp_rt_callback, . - klp_rt_callback
	.section .note.GNU-stack, "", %progbits
