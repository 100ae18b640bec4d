/* SPDX-License-Identifier: Apache-2.0 */
/* Group A: an encoder and a decoder. Only the decoder of the same version reads a message. */
#include "torture.h"

#define VERSION 1

struct message {
	uint64_t word[4], tag;
};

NOINLINE void a_encode(struct worker *w, struct message *m, uint64_t value)
{
	torture_enter(w, TORTURE_A, VERSION, 1);
	m->tag = 0x6d657373616765ull * VERSION;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t x = value ^ (0x9e3779b97f4a7c15ull * (VERSION + i));

		m->word[i] = x << VERSION | x >> (64 - VERSION);
	}
	torture_leave(w, TORTURE_A, VERSION, 2);
}

NOINLINE uint64_t a_decode(struct worker *w, const struct message *m)
{
	uint64_t all = 0, any = 0;

	torture_enter(w, TORTURE_A, VERSION, 3);
	if (m->tag != 0x6d657373616765ull * VERSION)
		w->mismatch(w, TORTURE_A, VERSION, 4);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t x = m->word[i];

		x = (x >> VERSION | x << (64 - VERSION)) ^ (0x9e3779b97f4a7c15ull * (VERSION + i));
		if (i && x != any)
			all = 1;
		any = x;
	}
	torture_leave(w, TORTURE_A, VERSION, 5);
	return all ? ~any : any;
}

NOINLINE void a_round(struct worker *w, int how)
{
	struct message m;
	uint64_t value = torture_random(w);

	torture_enter(w, TORTURE_A, VERSION, 6);
	a_encode(w, &m, value);
	if (how)
		torture_block(w, how);
	if (a_decode(w, &m) != value)
		torture_wrong(w);
	torture_leave(w, TORTURE_A, VERSION, 7);
}
