/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first bytes of the image: struct klp_rt_image (rt.h), then the ops of the live patcher. Every field is an offset from
 * the image's start, computed by the linker, so that the image needs no relocation. `build` is zero here: the build puts the
 * first 8 bytes of the SHA-256 over the whole flat image (with these bytes zero) there.
 */
	.section .klp.header, "a", @progbits
	.globl	klp_rt_begin
	.hidden	klp_rt_begin
klp_rt_begin:
	.ascii	"klp-runtime-1\n\0\0"			/* magic: KLP_RT_MAGIC */
	.quad	0					/* build */
	.long	klp_rt_end - klp_rt_begin		/* size */
	.long	klp_rt_trampoline - klp_rt_begin	/* trampoline */
	.long	klp_rt_trampoline_end - klp_rt_begin	/* trampoline_end */
	.long	klp_rt_trampoline_full - klp_rt_begin	/* trampoline_full */
#ifdef KLP_RT_HAVE_HELPER
	.long	klp_rt_borrow - klp_rt_begin		/* borrow */
	.long	klp_rt_helper - klp_rt_begin		/* helper */
#else
	.long	0, 0
#endif
	.long	klp_rt_ops_livepatch - klp_rt_begin	/* ops_livepatch */
#ifdef KLP_RT_HAVE_HELPER
	.long	klp_rt_callback - klp_rt_begin		/* callback */
#else
	.long	0
#endif
	.irp	call, get, begin, take, next, end	/* shadow: KLP_SHADOW_CALL_NAMES */
	.long	klp_rt_shadow_\call - klp_rt_begin
	.endr
	.long	klp_rt_find_fde - klp_rt_begin		/* find_fde */
	.long	klp_rt_eh_frame - klp_rt_begin		/* eh_frame */
	.long	klp_rt_eh_frame_end - klp_rt_begin	/* eh_frame_end */

	.balign	8
	.globl	klp_rt_ops_livepatch
	.hidden	klp_rt_ops_livepatch
klp_rt_ops_livepatch:					/* struct klp_rt_ops */
	.quad	klp_rt_livepatch - klp_rt_begin		/* fn: an offset until the engine adds the image's address */
	.quad	1					/* flags: KLP_RT_IPMODIFY */

	.section .note.GNU-stack, "", @progbits
