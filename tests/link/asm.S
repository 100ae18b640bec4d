/* SPDX-License-Identifier: Apache-2.0 */
/* Relocations that compilers emit rarely, and how each is told from its like. */
	.text
	.globl m_run
	.type m_run, @function
m_run: /* (result, n): v[R_CALL] = a conditional jump to t_add, v[R_ADDRESS] = &t_add by push, v[R_DATA] = t_value by a 64-bit distance */
	.reloc ., R_X86_64_NONE, t_add
	push %rbx
	push %r12
	push %r13
	mov %rdi, %rbx
	mov %esi, %r12d
	mov %esi, %edi
	mov $2, %esi
	call conditional
	movslq %eax, %rax
	mov %rax, 0(%rbx)
	pushq t_add@GOTPCREL(%rip)
	popq 8(%rbx)
	lea distance(%rip), %rax
	add (%rax), %rax
	movslq (%rax), %rcx
	mov %rcx, 16(%rbx)
	mov absolute(%rip), %rax
	mov %r12d, %edi
	mov %r12d, %esi
	call *%rax
	movslq %eax, %rax
	mov %rax, 136(%rbx)       /* R_POINTER_CALL */
	mov tpoff(%rip), %rax
	movslq %fs:(%rax), %rax
	mov %rax, 112(%rbx)       /* R_TLS */
	mov dtpoff(%rip), %rax
	mov %rax, 120(%rbx)       /* R_TLS_HIGH: its offset */
	call *GETPID@GOTPCREL(%rip)
	mov %rax, 40(%rbx)        /* R_LIBC_CALL */
	mov $1, %esi
	call conditional_far
	movslq %eax, %rax
	mov %rax, 48(%rbx)        /* R_STATIC: getpid again */
	pop %r13
	pop %r12
	pop %rbx
	ret
	.size m_run, . - m_run

	.globl conditional
	.type conditional, @function
conditional:
	test %esi, %esi
	jne t_add
	ud2
	.size conditional, . - conditional

	.globl conditional_far
	.type conditional_far, @function
conditional_far: /* out of reach: by a PLT entry of the module */
	test %esi, %esi
	jne GETPID
	ud2
	.size conditional_far, . - conditional_far

	.section .rodata, "a"
	.balign 8
absolute: .quad t_add
distance: .quad t_value - .
tpoff:    .quad t_tls@tpoff
dtpoff:   .quad t_tls_high@dtpoff
	.section .note.GNU-stack, "", @progbits
