/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw system calls of the runtime: no libc, no errno; the result is the kernel's, so an error is -errno.
 * The kernel preserves every register but rax, rcx and r11.
 */
#ifndef KLP_RT_SYSCALL_H
#define KLP_RT_SYSCALL_H

#include <stdint.h>

#define KLP_NR_mmap 9
#define KLP_NR_munmap 11
#define KLP_NR_rt_sigprocmask 14
#define KLP_NR_rt_sigreturn 15
#define KLP_NR_getpid 39
#define KLP_NR_clone 56
#define KLP_NR_exit 60
#define KLP_NR_gettid 186
#define KLP_NR_getppid 110
#define KLP_NR_futex 202
#define KLP_NR_clock_gettime 228
#define KLP_NR_rt_sigpending 127
#define KLP_NR_rt_sigtimedwait 128
#define KLP_NR_prctl 157
#define KLP_NR_arch_prctl 158
#define KLP_NR_membarrier 324

static inline int64_t klp_syscall6(int64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	register uint64_t r10 __asm__("r10") = d;
	register uint64_t r8 __asm__("r8") = e;
	register uint64_t r9 __asm__("r9") = f;
	int64_t ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline int64_t klp_syscall4(int64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	register uint64_t r10 __asm__("r10") = d;
	int64_t ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return ret;
}

static inline int64_t klp_syscall3(int64_t nr, uint64_t a, uint64_t b, uint64_t c)
{
	int64_t ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
}

static inline int64_t klp_syscall2(int64_t nr, uint64_t a, uint64_t b)
{
	int64_t ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
	return ret;
}

static inline int64_t klp_syscall1(int64_t nr, uint64_t a)
{
	int64_t ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a) : "rcx", "r11", "memory");
	return ret;
}

static inline int64_t klp_syscall0(int64_t nr)
{
	int64_t ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr) : "rcx", "r11", "memory");
	return ret;
}

#endif
