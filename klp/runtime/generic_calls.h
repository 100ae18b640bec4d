/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of system calls in the kernel's generic table (asm-generic/unistd.h), which aarch64 and riscv64 have. */
#ifndef KLP_RT_GENERIC_CALLS_H
#define KLP_RT_GENERIC_CALLS_H

#define KLP_NR_exit 93
#define KLP_NR_futex 98
#define KLP_NR_clock_gettime 113
#define KLP_NR_rt_sigprocmask 135
#define KLP_NR_rt_sigpending 136
#define KLP_NR_rt_sigtimedwait 137
#define KLP_NR_rt_sigreturn 139
#define KLP_NR_prctl 167
#define KLP_NR_getpid 172
#define KLP_NR_gettid 178
#define KLP_NR_getppid 173
#define KLP_NR_munmap 215
#define KLP_NR_clone 220
#define KLP_NR_mmap 222
#define KLP_NR_membarrier 283

#endif
