/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines whose kernel prepares the restart of an interrupted call before it stops the thread (aarch64, riscv64): what
 * their struct klp_registers has in common. Their machine.h says with KLP_REG_* where the registers are.
 */
#ifndef KLP_PREPARED_REGISTERS_H
#define KLP_PREPARED_REGISTERS_H

#include <stdbool.h>
#include <stdint.h>

/* The call that the stop has interrupted. */
struct klp_prepared_call {
	int64_t nr; /* -1: none */
	uint64_t arg[6];
	bool again;     /* the kernel has put program counter and first argument back: it will be issued again */
	bool arg_known; /* arg[0] is, though its register holds the result */
};

#endif
