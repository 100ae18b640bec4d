/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A system call that is no function of the C library: it does not look for errno, a thread that waits in it can be
 * unwound, and its child may have its caller's stack. Where calls leave the return address in a register (glibc's
 * syscall() does), who makes the call saves it first, and riscv64's frame pointer, by which a thread's end is known.
 */
#ifndef KLP_TEST_RAW_CALL_H
#define KLP_TEST_RAW_CALL_H

__attribute__((always_inline)) static inline long raw_call(long number, long first, long second, long third)
{
#if defined __aarch64__
	register long nr __asm__("x8") = number, a __asm__("x0") = first, b __asm__("x1") = second,
			 c __asm__("x2") = third, d __asm__("x3") = 0, e __asm__("x4") = 0;

	__asm__ volatile("svc #0" : "+r"(a) : "r"(nr), "r"(b), "r"(c), "r"(d), "r"(e) : "x30", "memory");
	return a;
#elif defined __riscv
	register long nr __asm__("a7") = number, a __asm__("a0") = first, b __asm__("a1") = second,
			 c __asm__("a2") = third, d __asm__("a3") = 0, e __asm__("a4") = 0;

	__asm__ volatile("ecall" : "+r"(a) : "r"(nr), "r"(b), "r"(c), "r"(d), "r"(e) : "ra", "s0", "memory");
	return a;
#else
	register long d __asm__("r10") = 0, e __asm__("r8") = 0;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(number), "D"(first), "S"(second), "d"(third), "r"(d), "r"(e)
			 : "rcx", "r11", "memory");
	return result;
#endif
}

#endif
