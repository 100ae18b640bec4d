/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/callsite.h"

bool klp_slot_leads_to(const struct klp_process *p, uint64_t slot, uint64_t entry)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint64_t value;

	return !klp_process_read(p, slot, &value, sizeof(value), &ignored) && value == entry;
}
