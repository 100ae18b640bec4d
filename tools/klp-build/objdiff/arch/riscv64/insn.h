/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_OBJDIFF_RISCV64_INSN_H
#define KLP_OBJDIFF_RISCV64_INSN_H

#include "tools/klp-build/objdiff/object.h"

bool od_riscv64_only_loads(const struct od_sec *s, const struct od_rel *r);
#endif
