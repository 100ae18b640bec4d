/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entry trampolines of riscv64.
 *
 * A patched function's prefix jumps through its slot; while a transition runs the slot leads to the function's stub, which is
 * the call site of ftrace:
 *
 *	caller:	jal  ra, victim			; ra: the program's return address
 *	victim:	nop				; untouched (invariant S4)
 *		jal  x0, victim-12		; the armed site
 *	victim-12: auipc t1, slot; ld t1, slot(t1); jr t1	; the PLT entry
 *	stub:	auipc t1, record; addi t1, t1, record	; whose entry this is: struct klp_rt_site
 *		auipc t0, trampoline_word; ld t0, trampoline_word(t0)
 *		jalr t0, 0(t0)			; to here
 *		jr   t1				; and back: where the call goes on
 *
 * Here, with S the caller's sp, the frame becomes two frame records and what lies below (struct klp_rt_regs, at S - 160):
 *
 *	S - 8	ra	the program's own return address, never changed		} the patched function's record:
 *	S - 16	s0	the caller's frame					} it links it to its caller
 *	S - 24	t0	where the stub goes on					} the trampoline's record:
 *	S - 32	S								} it links it to the stub
 *	S - 40	pc	the saved PC: site->original until the ops rewrites it
 *	S - 48	t1	the site record
 *	S - 96	t2 ... t6	t2: the static chain
 *	S - 160	a0 ... a7	arguments
 *
 * and everything is put back before `jr t0`, with the saved PC in t1, which the stub follows. The stub's JALR and this jump are a
 * pair of call and return by the alternate link register, so the return predictor stays balanced; ra has the program's return address all the
 * time, and no return address is changed.
 *
 * t0 and t1 are free at a function's entry: the PLT entries of the static linker change t1, and t0 is used as a link register by prologues only
 * (-msave-restore), behind the site. s1 to s11 are kept by the C code; gp and tp, the floating-point and vector registers and their state because the
 * runtime has no instruction that touches them. sp is a multiple of 16. Nothing is stored below sp, for there is no red zone.
 */
#define SITE_OPS	8
#define SITE_ORIGINAL	120
#define FRAME		160
#define RECORDS		16	/* s0 is so far below the caller's sp */
#define REGS_T2		64
#define REGS_RECORD	112
#define REGS_PC		120
#define REGS_FRAME	128
#define REGS_STUB	136
#define REGS_FP		144
#define REGS_RET	152

	.option	norelax

	.macro	SAVE
	.cfi_startproc
	addi	sp, sp, -FRAME
	.cfi_def_cfa_offset FRAME
	sd	ra, REGS_RET(sp)
	.cfi_offset ra, -8
	sd	s0, REGS_FP(sp)
	.cfi_offset s0, -16
	addi	s0, sp, FRAME
	sd	s0, REGS_FRAME(sp)
	sd	t0, REGS_STUB(sp)
	addi	s0, s0, -RECORDS
	.cfi_def_cfa s0, RECORDS
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7
	sd	a\n, \n*8(sp)
	.endr
	.irp	n, 2, 3, 4, 5, 6
	sd	t\n, REGS_T2+(\n-2)*8(sp)
	.endr
	sd	t1, REGS_RECORD(sp)
	ld	t0, SITE_ORIGINAL(t1)
	sd	t0, REGS_PC(sp)
	.endm

	/* In: s0, RECORDS below the end of struct klp_rt_regs; t1, the record. */
	.macro	DISPATCH_AND_LEAVE
	mv	a0, t1
	addi	a1, s0, -(FRAME - RECORDS)
	ld	t0, SITE_OPS(t1)
	ld	t0, 0(t0)
	jalr	ra, 0(t0)
	addi	sp, s0, -(FRAME - RECORDS)
	.cfi_def_cfa sp, FRAME
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7
	ld	a\n, \n*8(sp)
	.endr
	.irp	n, 2, 3, 4, 5, 6
	ld	t\n, REGS_T2+(\n-2)*8(sp)
	.endr
	ld	t1, REGS_PC(sp)
	ld	t0, REGS_STUB(sp)
	ld	s0, REGS_FP(sp)
	.cfi_restore s0
	ld	ra, REGS_RET(sp)
	.cfi_restore ra
	addi	sp, sp, FRAME
	.cfi_def_cfa_offset 0
	jr	t0
	.cfi_endproc
	.endm

/* Recorded below the structure:
 *	((uint64_t *)regs)[-1] s11, [-2] s10, ... [-11] s1
 */
	.macro	SAVE_THE_REST
	addi	sp, sp, -96
	.irp	n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
	sd	s\n, \n*8(sp)
	.endr
	.endm

#include "klp/runtime/trampolines.h"
