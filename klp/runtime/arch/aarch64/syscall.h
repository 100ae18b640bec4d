/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw system calls of the runtime: no libc, no errno; the result is the kernel's, so an error is -errno.
 * The kernel preserves every general register but x0. It may drop what a vector register has above its 128 bits, which
 * the runtime has no use for.
 */
#ifndef KLP_RT_SYSCALL_H
#define KLP_RT_SYSCALL_H

#include <stdint.h>

#include "klp/runtime/generic_calls.h"

static inline int64_t klp_syscall6(int64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	register uint64_t x0 __asm__("x0") = a;
	register uint64_t x1 __asm__("x1") = b;
	register uint64_t x2 __asm__("x2") = c;
	register uint64_t x3 __asm__("x3") = d;
	register uint64_t x4 __asm__("x4") = e;
	register uint64_t x5 __asm__("x5") = f;
	register int64_t x8 __asm__("x8") = nr;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5), "r"(x8) : "memory", "cc");
	return (int64_t)x0;
}

static inline int64_t klp_syscall4(int64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	register uint64_t x0 __asm__("x0") = a;
	register uint64_t x1 __asm__("x1") = b;
	register uint64_t x2 __asm__("x2") = c;
	register uint64_t x3 __asm__("x3") = d;
	register int64_t x8 __asm__("x8") = nr;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x3), "r"(x8) : "memory", "cc");
	return (int64_t)x0;
}

static inline int64_t klp_syscall3(int64_t nr, uint64_t a, uint64_t b, uint64_t c)
{
	register uint64_t x0 __asm__("x0") = a;
	register uint64_t x1 __asm__("x1") = b;
	register uint64_t x2 __asm__("x2") = c;
	register int64_t x8 __asm__("x8") = nr;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x8) : "memory", "cc");
	return (int64_t)x0;
}

static inline int64_t klp_syscall2(int64_t nr, uint64_t a, uint64_t b)
{
	register uint64_t x0 __asm__("x0") = a;
	register uint64_t x1 __asm__("x1") = b;
	register int64_t x8 __asm__("x8") = nr;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x1), "r"(x8) : "memory", "cc");
	return (int64_t)x0;
}

static inline int64_t klp_syscall1(int64_t nr, uint64_t a)
{
	register uint64_t x0 __asm__("x0") = a;
	register int64_t x8 __asm__("x8") = nr;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8) : "memory", "cc");
	return (int64_t)x0;
}

static inline int64_t klp_syscall0(int64_t nr)
{
	register uint64_t x0 __asm__("x0");
	register int64_t x8 __asm__("x8") = nr;

	__asm__ volatile("svc #0" : "=r"(x0) : "r"(x8) : "memory", "cc");
	return (int64_t)x0;
}

#endif
