/* SPDX-License-Identifier: Apache-2.0 */
/* Group B: two functions that call each other down to a depth. What the two arguments mean depends on the version. */
#include "torture.h"

#define VERSION 1
#define KEY (1000003ull * VERSION)

NOINLINE uint64_t b_even(struct worker *w, unsigned depth, uint64_t x, uint64_t y, int how);
NOINLINE uint64_t b_odd(struct worker *w, unsigned depth, uint64_t p, uint64_t q, int how);

NOINLINE uint64_t b_odd(struct worker *w, unsigned depth, uint64_t p, uint64_t q, int how)
{
	uint64_t x = (VERSION & 1 ? p : q) - KEY, y = (VERSION & 1 ? q : p) ^ KEY, r;

	torture_enter(w, TORTURE_B, VERSION, 11);
	r = b_even(w, depth - 1, x + 3, y + 5, how) + VERSION;
	torture_leave(w, TORTURE_B, VERSION, 12);
	return r;
}

NOINLINE uint64_t b_even(struct worker *w, unsigned depth, uint64_t x, uint64_t y, int how)
{
	uint64_t r, p = x + KEY, q = y ^ KEY;

	torture_enter(w, TORTURE_B, VERSION, 13);
	if (depth) {
		r = VERSION & 1 ? b_odd(w, depth, p, q, how) : b_odd(w, depth, q, p, how);
		r -= VERSION;
	} else {
		if (how)
			torture_block(w, how);
		r = x * 7 + y;
	}
	torture_leave(w, TORTURE_B, VERSION, 14);
	return r;
}

NOINLINE void b_round(struct worker *w, int how)
{
	uint64_t x = torture_random(w), y = torture_random(w), n = w->recursion;

	torture_enter(w, TORTURE_B, VERSION, 15);
	if (b_even(w, w->recursion, x, y, how) != (x + 3 * n) * 7 + y + 5 * n)
		torture_wrong(w);
	torture_leave(w, TORTURE_B, VERSION, 16);
}
