/* SPDX-License-Identifier: Apache-2.0 */
/* Group L: the same in a shared object, with a local function that only the object's own calls reach. */
#include "torture.h"

#define VERSION 1

static NOINLINE uint64_t l_mix(struct worker *w, uint64_t value)
{
	torture_enter(w, TORTURE_L, VERSION, 31);
	value = (value ^ 0xabcdefull * VERSION) + VERSION;
	torture_leave(w, TORTURE_L, VERSION, 32);
	return value;
}

static NOINLINE uint64_t l_unmix(struct worker *w, uint64_t value)
{
	torture_enter(w, TORTURE_L, VERSION, 33);
	value = (value - VERSION) ^ 0xabcdefull * VERSION;
	torture_leave(w, TORTURE_L, VERSION, 34);
	return value;
}

NOINLINE void l_round(struct worker *w, int how, void (*block)(struct worker *, int))
{
	uint64_t value = torture_random(w), mixed;

	torture_enter(w, TORTURE_L, VERSION, 35);
	mixed = l_mix(w, value);
	if (how)
		block(w, how);
	if (l_unmix(w, mixed) != value)
		torture_wrong(w);
	torture_leave(w, TORTURE_L, VERSION, 36);
}
