/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A picture of a running thread, taken by the kernel: its user registers and a copy of its stack, both of one instant
 * in which a clock's interrupt met it in user mode (perf_event_open(2), PERF_SAMPLE_REGS_USER, PERF_SAMPLE_STACK_USER).
 * The thread is not stopped, gets no signal, and no system call of it ends; a tool that dies leaves nothing behind.
 * Private to klp/.
 */
#ifndef KLP_SAMPLE_H
#define KLP_SAMPLE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "unwind/unwind.h"

#define KLP_SAMPLE_STACK 32768u /* bytes of stack in a picture; a deeper one cannot be proven by it */
#define KLP_SAMPLE_MAX_REGS 64u

struct klp_sample {
	struct klp_unw_regs regs;
	size_t len; /* of stack[], which begins at the stack pointer */
	uint8_t stack[KLP_SAMPLE_STACK];
};

/*
 * Waits up to wait_ns for the thread to run in user mode. 1: out is of an instant after this call began; 0: it did not
 * run; -EPERM: the kernel permits no samples of this process (perf_event_paranoid, a security module, no perf); other
 * -errno.
 */
int klp_sample_take(pid_t tid, uint64_t wait_ns, struct klp_sample *out);

/* arch/<name>/sample.c: bit n of klp_sample_mask asks for the kernel's register n (asm/perf_regs.h); the values come in
 * the order of the bits. */
extern const uint64_t klp_sample_mask;
void klp_sample_registers(const uint64_t *value, struct klp_unw_regs *out);

#endif
