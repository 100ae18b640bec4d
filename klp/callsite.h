/* SPDX-License-Identifier: Apache-2.0 */
/* What calls and jumps in the target's code lead to. One per architecture: arch/<name>/callsite.c. Private to klp/. */
#ifndef KLP_CALLSITE_H
#define KLP_CALLSITE_H

#include "klp/process.h"

/*
 * Is the instruction before the return address a call of the function at `entry`, and of no other: direct, through a
 * PLT entry that leads there, or through a slot that nobody can write? What cannot be told is no.
 */
bool klp_call_is_of(const struct klp_process *p, uint64_t ret, uint64_t entry);

/*
 * Sets reached[i] if code that lies at addr may jump to entry[i]: by a direct jump, near or short, conditional or not,
 * also through a PLT entry; an indirect jump may lead to all. Finds them without decoding, by looking at every byte:
 * what is none may be taken for one, never the other way round.
 */
void klp_jumps_reach(const struct klp_process *p, const uint8_t *code, size_t len, uint64_t addr, const uint64_t *entry,
		     bool *reached, size_t count);

/* klp/callsite.c, for all of them: is this address in the slot now? */
bool klp_slot_leads_to(const struct klp_process *p, uint64_t slot, uint64_t entry);

#endif
