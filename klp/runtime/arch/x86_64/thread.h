/* SPDX-License-Identifier: Apache-2.0 */
/* The thread pointer. */
#ifndef KLP_RT_THREAD_H
#define KLP_RT_THREAD_H

#include "syscall.h"

#define KLP_ARCH_GET_FS 0x1003

/* Word 0 of the thread control block is its own address (psABI); the engine allows this only after checking it. */
static inline uint64_t klp_thread_pointer(void)
{
	uint64_t tp;

	__asm__ volatile("movq %%fs:0, %0" : "=r"(tp));
	return tp;
}

/* Always right. Not by rdfsbase: a kernel may forbid it. */
static inline uint64_t klp_ask_thread_pointer(void)
{
	uint64_t tp = 0;

	klp_syscall2(KLP_NR_arch_prctl, KLP_ARCH_GET_FS, (uint64_t)&tp);
	return tp;
}

#endif
