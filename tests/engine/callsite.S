/* SPDX-License-Identifier: Apache-2.0 */
/* Calls and jumps as compilers write them. Each call site's return address has a label; each function that jumps has an end. */
	.text
	.globl	callee, other, plt_entry, plt_endbr, plt_bnd
callee:
	ret
other:
	ret
plt_entry:
	jmp	*slot(%rip)
plt_endbr:
	endbr64
	jmp	*slot(%rip)
plt_bnd:
	endbr64
	.byte	0xf2
	jmp	*slot(%rip)

	.macro	SITE name, insn:vararg
	.globl	\name
	\insn
\name:
	.endm
	SITE	ret_direct, call callee
	SITE	ret_other, call other
	SITE	ret_plt, call plt_entry
	SITE	ret_plt_endbr, call plt_endbr
	SITE	ret_plt_bnd, call plt_bnd
	SITE	ret_register, call *%rax
	SITE	ret_memory, call *8(%rbx)
	SITE	ret_constant, call *constant(%rip)
	SITE	ret_variable, call *slot(%rip)
	SITE	ret_addr32, addr32 call callee

	.macro	CODE name, insn:vararg
	.globl	\name, \name\()_end
\name:
	\insn
	ret
\name\()_end:
	.endm
	CODE	jumps_near, jmp.d32 callee
	CODE	jumps_if, jz.d32 callee
	CODE	jumps_plt, jmp.d32 plt_bnd
	CODE	jumps_register, jmp *%rax
	CODE	jumps_high_register, jmp *%r11
	CODE	jumps_table, jmp *(%rax, %rbx, 8)
	CODE	jumps_other, jmp.d32 other
	CODE	jumps_inside, jmp . + 2
	CODE	calls_only, call callee
	.balign	64
	.globl	close_callee
close_callee:
	ret
	CODE	jumps_short, jmp close_callee
	CODE	jumps_short_if, jnz close_callee

	.section .data.rel.ro, "aw"
	.balign	8
constant:
	.quad	callee
	.data
	.balign	8
slot:
	.quad	callee
	.section .note.GNU-stack, "", @progbits
