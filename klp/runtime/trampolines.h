/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two trampolines of an architecture, made of its macros (arch/<name>/trampoline.S): SAVE, DISPATCH_AND_LEAVE, and
 * SAVE_THE_REST, which pushes the registers that C code keeps below what SAVE has stored: the second trampoline is for
 * ops that ask for all registers. They are for reading: what an ops stores there does not reach the registers.
 */
/* clang-format off */
	.section .klp.trampoline, "ax", %progbits

	.balign	64
	.globl	klp_rt_trampoline
	.hidden	klp_rt_trampoline
	.type	klp_rt_trampoline, %function
klp_rt_trampoline:
	SAVE
	DISPATCH_AND_LEAVE
	.size	klp_rt_trampoline, . - klp_rt_trampoline

	.balign	64
	.globl	klp_rt_trampoline_full
	.hidden	klp_rt_trampoline_full
	.type	klp_rt_trampoline_full, %function
klp_rt_trampoline_full:
	SAVE
	SAVE_THE_REST
	DISPATCH_AND_LEAVE
	.size	klp_rt_trampoline_full, . - klp_rt_trampoline_full

	.section .note.GNU-stack, "", %progbits
