/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/reloc.h"

const struct klp_reloc_info *klp_reloc_find(uint32_t type)
{
	for (size_t i = 0; i < klp_reloc_list_len; i++)
		if (klp_reloc_list[i].type == type)
			return &klp_reloc_list[i];
	return NULL;
}
