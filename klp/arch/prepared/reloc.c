/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/reloc.h"

/* The slot's value is loaded into a register; what is done with it does not stand there. */
bool klp_reloc_is_slot_call(const struct klp_reloc_info *i, const uint8_t *code, uint64_t code_len, uint64_t offset)
{
	(void)i;
	(void)code;
	(void)code_len;
	(void)offset;
	return false;
}
