/* SPDX-License-Identifier: Apache-2.0 */
/* Group P: what one puts away another takes out, in an object that is opened and closed and with that object's data. */
#include "torture.h"

#define VERSION 1

static volatile uint64_t p_key = 0x6b6579;

static NOINLINE uint64_t p_push(struct worker *w, uint64_t value)
{
	torture_enter(w, TORTURE_P, VERSION, 41);
	value = (value + p_key * VERSION) ^ VERSION;
	torture_leave(w, TORTURE_P, VERSION, 42);
	return value;
}

static NOINLINE uint64_t p_pop(struct worker *w, uint64_t value)
{
	torture_enter(w, TORTURE_P, VERSION, 43);
	value = (value ^ VERSION) - p_key * VERSION;
	torture_leave(w, TORTURE_P, VERSION, 44);
	return value;
}

NOINLINE void p_round(struct worker *w, int how, void (*block)(struct worker *, int))
{
	uint64_t value = torture_random(w), pushed;

	torture_enter(w, TORTURE_P, VERSION, 45);
	pushed = p_push(w, value);
	if (how)
		block(w, how);
	if (p_pop(w, pushed) != value)
		torture_wrong(w);
	torture_leave(w, TORTURE_P, VERSION, 46);
}
