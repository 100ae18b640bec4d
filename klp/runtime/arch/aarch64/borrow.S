/* SPDX-License-Identifier: Apache-2.0 */
/*
 * klp_rt_borrow: what a borrowed thread runs to start the helper. Entered with every signal blocked, x19 = struct klp_rt_borrow;
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
 * The kernel keeps every general register over a call but x0.
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
#define CLONE_FLAGS_LOW	0x0f00	/* VM 100, FS 200, FILES 400, SIGHAND 800 */
#define CLONE_FLAGS_HIGH 0xd	/* THREAD 1, SYSVSEM 4, SETTLS 8 */
#define SA_RESTART_BIT	28

	.section .text.klp_rt_borrow, "ax", %progbits
	.globl	klp_rt_borrow
	.hidden	klp_rt_borrow
	.type	klp_rt_borrow, %function
klp_rt_borrow:
	.cfi_startproc
	.cfi_undefined 30
	mov	w0, #CLONE_FLAGS_LOW
	movk	w0, #CLONE_FLAGS_HIGH, lsl #16
	ldr	x1, [x19, #B_STACK_TOP]
	mov	x2, #0			/* parent_tid */
	mov	x3, #0			/* tls */
	mov	x4, #0			/* child_tid */
	mov	x8, #220
	svc	#0
	cbz	x0, .Lchild
	ldr	x21, [x19, #B_RESULT]
	str	w0, [x21]
.Lpending:
	ldr	x21, [x19, #B_SCRATCH]	/* pending set, then struct sigaction of the kernel */
	mov	x0, x21
	mov	x1, #8
	mov	x8, #136
	svc	#0
	cbnz	x0, .Lhome
	ldr	x9, [x19, #B_HAS_CALL]
	cbz	x9, .Lhome
	ldr	x10, [x19, #B_MASK]
	ldr	x22, [x21]
	bic	x22, x22, x10
.Lnext:
	cbz	x22, .Lhome
	rbit	x9, x22
	clz	x9, x9			/* the lowest pending one */
	mov	x10, #1
	lsl	x10, x10, x9
	bic	x22, x22, x10
	add	x0, x9, #1
	mov	x1, #0
	mov	x2, x21
	mov	x3, #8
	mov	x8, #134
	svc	#0
	cbnz	x0, .Lnext
	ldr	x9, [x21]		/* SIG_DFL, SIG_IGN: nothing that would interrupt the call */
	cmp	x9, #1
	b.ls	.Lnext
	ldr	x9, [x19, #B_ALWAYS]
	cbnz	x9, .Leintr
	ldr	x9, [x21, #8]
	tbnz	x9, #SA_RESTART_BIT, .Lnext
.Leintr:
	ldr	x9, [x19, #B_EINTR]
	b	.Lreturn
.Lhome:
	ldr	x9, [x19, #B_RESTART]
.Lreturn:
	mov	sp, x9
	mov	x8, #139
	svc	#0
	brk	#0
.Lchild:
	mov	x29, #0
	mov	x30, #0
	ldr	x0, [x19, #B_CB]
	bl	klp_rt_helper
	brk	#0
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
	.cfi_undefined 30
	mov	x29, #0
	mov	x30, #0
	ldr	x0, [x19, #B_CB]
	bl	klp_rt_callback_run
	b	.Lpending
	.cfi_endproc
	.size	klp_rt_callback, . - klp_rt_callback
	.section .note.GNU-stack, "", %progbits
