/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_OBJDIFF_RISCV64_RELAX_H
#define KLP_OBJDIFF_RISCV64_RELAX_H

#include "tools/klp-build/objdiff/placed.h"

bool od_riscv64_relaxed(struct od_placed *p);
struct od_operand od_riscv64_operand(const struct lk *l, uint64_t at, const struct od_rel *r);
struct od_operand od_riscv64_join(const struct od_operand *high, const struct od_rel *hr, const struct od_operand *low,
				  const struct od_rel *lr);
#endif
