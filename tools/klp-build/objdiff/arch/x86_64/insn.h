/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_OBJDIFF_X86_64_INSN_H
#define KLP_OBJDIFF_X86_64_INSN_H

#include "tools/klp-build/objdiff/object.h"

enum od_use od_x86_64_use(const struct od_sec *s, const struct od_rel *r);
bool od_x86_64_only_loads(const struct od_sec *s, const struct od_rel *r);
bool od_x86_64_own_address(const struct od_sec *s, uint64_t at, struct od_rel *r);
#endif
