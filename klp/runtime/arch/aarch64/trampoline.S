/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entry trampolines of aarch64.
 *
 * A patched function's prefix jumps through its slot; while a transition runs the slot leads to the function's stub, which is
 * the call site of ftrace:
 *
 *	caller:	bl   victim			; x30: the program's return address
 *	victim:	nop (or bti c)			; untouched (invariant S4)
 *		b    victim-12			; the armed site
 *	victim-12: adrp x16, slot; ldr x16, [x16, #slot]; br x16	; the PLT entry
 *	stub:	bti  c
 *		mov  x9, x30			; from here only x9 has the program's return address (invariant U3)
 *		adr  x17, record		; whose entry this is: struct klp_rt_site
 *		ldr  x16, trampoline_word
 *		blr  x16			; to here
 *		mov  x30, x9			; and back: it has x30 again
 *		br   x16			; where the call goes on
 *
 * Here, with S the caller's sp, the frame becomes two frame records and what lies between (struct klp_rt_regs, at S - 176):
 *
 *	S - 8	x9	the program's own return address, never changed		} the patched function's record:
 *	S - 16	x29	the caller's frame					} it links it to its caller
 *	S - 24	pc	the saved PC: site->original until the ops rewrites it
 *	S - 32	x17	the site record
 *	S - 40	x18
 *	S - 88	x10 ... x15
 *	S - 160	x0 ... x8	arguments, and x8: where a structure is returned
 *	S - 168	x30	where the stub goes on					} the trampoline's record:
 *	S - 176	S - 16							} it links it to the stub
 *
 * and everything is put back before `ret x30`, with the saved PC in x16, which the stub follows. The stub's BLR and this RET are a
 * pair, so the return predictor and a guarded control stack stay balanced; no return address is changed.
 *
 * x19 to x28 are kept by the C code, which does not touch x18 either (-ffixed-x18); vector, SVE and SME registers and their modes
 * because the runtime has no instruction that touches them. The flags are dead at a function's entry (AAPCS64), sp is aligned to 16 wherever it
 * is used. Nothing is stored below sp, for there is no red zone.
 *
 * The CFI has x9 as its column of the return address: with x30 an unwinder would go to the stub for ever.
 */
#define SITE_OPS	8
#define SITE_ORIGINAL	120
#define FRAME		176
#define REGS_RECORD	144
#define REGS_PC		152

	.macro	SAVE
	.cfi_startproc
	.cfi_return_column 9
	bti	c
	stp	x29, x9, [sp, #-16]!
	.cfi_def_cfa_offset 16
	.cfi_offset 29, -16
	.cfi_offset 9, -8
	mov	x29, sp
	stp	x29, x30, [sp, #-(FRAME - 16)]!
	.cfi_def_cfa_offset FRAME
	mov	x29, sp
	.cfi_def_cfa 29, FRAME
	stp	x0, x1, [sp, #16]
	stp	x2, x3, [sp, #32]
	stp	x4, x5, [sp, #48]
	stp	x6, x7, [sp, #64]
	stp	x8, x10, [sp, #80]
	stp	x11, x12, [sp, #96]
	stp	x13, x14, [sp, #112]
	stp	x15, x18, [sp, #128]
	ldr	x16, [x17, #SITE_ORIGINAL]
	stp	x17, x16, [sp, #REGS_RECORD]
	.endm

	/* In: x29, the struct klp_rt_regs; x17, the record. */
	.macro	DISPATCH_AND_LEAVE
	mov	x0, x17
	mov	x1, x29
	ldr	x16, [x17, #SITE_OPS]
	ldr	x16, [x16]
	blr	x16
	mov	sp, x29
	.cfi_def_cfa 31, FRAME
	ldp	x0, x1, [sp, #16]
	ldp	x2, x3, [sp, #32]
	ldp	x4, x5, [sp, #48]
	ldp	x6, x7, [sp, #64]
	ldp	x8, x10, [sp, #80]
	ldp	x11, x12, [sp, #96]
	ldp	x13, x14, [sp, #112]
	ldp	x15, x18, [sp, #128]
	ldr	x16, [sp, #REGS_PC]
	ldp	x29, x30, [sp], #(FRAME - 16)
	.cfi_def_cfa_offset 16
	ldp	x29, x9, [sp], #16
	.cfi_def_cfa_offset 0
	.cfi_restore 29
	.cfi_restore 9
	ret	x30
	.cfi_endproc
	.endm

/* Recorded below the structure:
 *	((uint64_t *)regs)[-1] x20, [-2] x19, [-3] x22, [-4] x21, ... [-9] x28, [-10] x27
 */
	.macro	SAVE_THE_REST
	stp	x19, x20, [sp, #-16]!
	stp	x21, x22, [sp, #-16]!
	stp	x23, x24, [sp, #-16]!
	stp	x25, x26, [sp, #-16]!
	stp	x27, x28, [sp, #-16]!
	.endm

#include "klp/runtime/trampolines.h"
