/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/sample.h"

#include <asm/perf_regs.h>
#include <string.h>

#define BIT(n) ((uint64_t)1 << (n))

/* rax rbx rcx rdx rsi rdi rbp rsp rip, r8 to r15 */
const uint64_t klp_sample_mask = (BIT(PERF_REG_X86_IP + 1) - 1) | (BIT(PERF_REG_X86_64_MAX) - BIT(PERF_REG_X86_R8));

void klp_sample_registers(const uint64_t *value, struct klp_unw_regs *out)
{
	/* The kernel's order, in DWARF numbers of x86_64 (psABI figure 3.36). */
	static const uint8_t dwarf[8] = {0, 3, 2, 1, 4, 5, 6, 7};

	for (unsigned i = 0; i < 8; i++)
		out->r[dwarf[i]] = value[i];
	out->pc = value[8];
	memcpy(&out->r[8], &value[9], 8 * sizeof(*value));
	out->known = 0xffff;
}
