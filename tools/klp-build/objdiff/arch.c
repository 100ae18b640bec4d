/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/klp-build/objdiff/arch.h"

static const struct od_arch *const od_archs[] = {&od_x86_64, &od_aarch64, &od_riscv64};

const struct od_arch *od_arch_find(uint16_t machine)
{
	for (size_t i = 0; i < sizeof(od_archs) / sizeof(*od_archs); i++)
		if (od_archs[i]->machine == machine)
			return od_archs[i];
	return NULL;
}
