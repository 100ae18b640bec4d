/* SPDX-License-Identifier: Apache-2.0 */
/* Group C: a ticket that one function gives and another one takes, and a call through a pointer that the first one
 * chose. */
#include "torture.h"

#define VERSION 1

typedef uint64_t (*c_fn)(struct worker *w, uint64_t ticket);

NOINLINE uint64_t c_take(struct worker *w, uint64_t ticket)
{
	torture_enter(w, TORTURE_C, VERSION, 21);
	if (ticket % 16 != VERSION)
		w->mismatch(w, TORTURE_C, VERSION, 22);
	torture_leave(w, TORTURE_C, VERSION, 23);
	return ticket / 16 - VERSION;
}

NOINLINE uint64_t c_give(struct worker *w, uint64_t value, c_fn *take)
{
	torture_enter(w, TORTURE_C, VERSION, 24);
	*take = c_take;
	torture_leave(w, TORTURE_C, VERSION, 25);
	return (value + VERSION) * 16 + VERSION;
}

NOINLINE void c_round(struct worker *w, int how)
{
	uint64_t value = torture_random(w) >> 8, ticket;
	c_fn take;

	torture_enter(w, TORTURE_C, VERSION, 26);
	ticket = c_give(w, value, &take);
	if (how)
		torture_block(w, how);
	if (take(w, ticket) != value)
		torture_wrong(w);
	torture_leave(w, TORTURE_C, VERSION, 27);
}
