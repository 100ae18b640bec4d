/* SPDX-License-Identifier: Apache-2.0 */
/* What the runtime asks of the processor without the kernel. */
#ifndef KLP_RT_CPU_H
#define KLP_RT_CPU_H

/* In a loop that waits for another core's store (Arm ARM C6.2, YIELD). */
static inline void klp_relax(void)
{
	__asm__ volatile("yield" ::: "memory");
}

#endif
