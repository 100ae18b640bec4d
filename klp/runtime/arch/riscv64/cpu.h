/* SPDX-License-Identifier: Apache-2.0 */
/* What the runtime asks of the processor without the kernel. */
#ifndef KLP_RT_CPU_H
#define KLP_RT_CPU_H

/* In a loop that waits for another core's store: PAUSE of Zihintpause, a HINT for who has it not (fence w, 0). */
static inline void klp_relax(void)
{
	__asm__ volatile(".4byte 0x0100000f" ::: "memory");
}

#endif
