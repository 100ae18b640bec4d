/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/sample.h"

#include <asm/perf_regs.h>
#include <string.h>

/* x0 to x29, lr, sp, pc */
const uint64_t klp_sample_mask = ((uint64_t)1 << PERF_REG_ARM64_MAX) - 1;

_Static_assert(PERF_REG_ARM64_SP == 31 && PERF_REG_ARM64_PC == 32 && PERF_REG_ARM64_MAX == 33, "the order of values");

void klp_sample_registers(const uint64_t *value, struct klp_unw_regs *out)
{
	memcpy(out->r, value, 32 * sizeof(*value)); /* they are DWARF's numbers */
	out->pc = value[PERF_REG_ARM64_PC];
	out->known = 0xffffffffu;
}
