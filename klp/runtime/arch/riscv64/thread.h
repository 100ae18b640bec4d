/* SPDX-License-Identifier: Apache-2.0 */
/* The thread pointer: a register of its own, which is always right. */
#ifndef KLP_RT_THREAD_H
#define KLP_RT_THREAD_H

#include <stdint.h>

static inline uint64_t klp_thread_pointer(void)
{
	uint64_t tp;

	__asm__ volatile("mv %0, tp" : "=r"(tp));
	return tp;
}

static inline uint64_t klp_ask_thread_pointer(void)
{
	return klp_thread_pointer();
}

#endif
