/* SPDX-License-Identifier: Apache-2.0 */
/* Objects with one thing that cannot be linked. */
	.text
	.globl m_run
	.type m_run, @function
m_run:	ret
	.size m_run, . - m_run
#if defined(BAD_WX)
	.section .wx, "awx", @progbits
	.quad 0
#elif defined(BAD_TLS)
	.section .tdata, "awT", @progbits
	.quad 0
#elif defined(BAD_INIT)
	.section .init_array, "aw", @init_array
	.quad m_run
#elif defined(BAD_ALIGN)
	.section .rodata, "a"
	.balign 65536
	.quad 0
#elif defined(BAD_COMMON)
	.comm common_thing, 8, 8
#elif defined(BAD_UNDEFINED)
	.data
	.quad nowhere
#elif defined(BAD_HUGE)
	.bss
	.zero 0x40000000
#elif defined(BAD_8)
	.data
	.byte t_value
#elif defined(BAD_16)
	.data
	.short t_value
#elif defined(BAD_PC8)
	.data
	.byte t_value - .
#elif defined(BAD_PC16)
	.data
	.short t_value - .
#elif defined(BAD_GOTOFF)
	.data
	.quad t_value@GOTOFF
#elif defined(BAD_SIZE)
	.data
	.quad t_value@SIZE
#elif defined(BAD_TLSUSE)
	.data
	.quad t_tls
#endif
	.section .note.GNU-stack, "", @progbits
