/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw system calls of the runtime: no libc, no errno; the result is the kernel's, so an error is -errno.
 * The kernel preserves every general register but a0. It may clobber the vector registers, which the runtime has no use
 * for.
 */
#ifndef KLP_RT_SYSCALL_H
#define KLP_RT_SYSCALL_H

#include <stdint.h>

#include "klp/runtime/generic_calls.h"

static inline int64_t klp_syscall6(int64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	register uint64_t a0 __asm__("a0") = a;
	register uint64_t a1 __asm__("a1") = b;
	register uint64_t a2 __asm__("a2") = c;
	register uint64_t a3 __asm__("a3") = d;
	register uint64_t a4 __asm__("a4") = e;
	register uint64_t a5 __asm__("a5") = f;
	register int64_t a7 __asm__("a7") = nr;

	__asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7) : "memory");
	return (int64_t)a0;
}

static inline int64_t klp_syscall3(int64_t nr, uint64_t a, uint64_t b, uint64_t c)
{
	register uint64_t a0 __asm__("a0") = a;
	register uint64_t a1 __asm__("a1") = b;
	register uint64_t a2 __asm__("a2") = c;
	register int64_t a7 __asm__("a7") = nr;

	__asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
	return (int64_t)a0;
}

static inline int64_t klp_syscall4(int64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	return klp_syscall6(nr, a, b, c, d, 0, 0);
}

static inline int64_t klp_syscall2(int64_t nr, uint64_t a, uint64_t b)
{
	return klp_syscall3(nr, a, b, 0);
}

static inline int64_t klp_syscall1(int64_t nr, uint64_t a)
{
	return klp_syscall3(nr, a, 0, 0);
}

static inline int64_t klp_syscall0(int64_t nr)
{
	return klp_syscall3(nr, 0, 0, 0);
}

#endif
