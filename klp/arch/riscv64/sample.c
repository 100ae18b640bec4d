/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/sample.h"

#include <asm/perf_regs.h>
#include <string.h>

/* pc, then x1 to x31 */
const uint64_t klp_sample_mask = ((uint64_t)1 << PERF_REG_RISCV_MAX) - 1;

_Static_assert(PERF_REG_RISCV_PC == 0 && PERF_REG_RISCV_RA == 1 && PERF_REG_RISCV_S0 == 8 && PERF_REG_RISCV_T6 == 31 &&
		   PERF_REG_RISCV_MAX == 32,
	       "the order of values");

void klp_sample_registers(const uint64_t *value, struct klp_unw_regs *out)
{
	memcpy(out->r, value, 32 * sizeof(*value)); /* they are DWARF's numbers */
	out->r[0] = 0;
	out->pc = value[PERF_REG_RISCV_PC];
	out->known = 0xffffffffu;
}
