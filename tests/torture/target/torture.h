/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The torture's target. Five groups of functions; each function knows the version of its group that it was compiled as,
 * and what one hands to the other depends on it. A thread that has one version's function on its stack and enters
 * another version's has been in two universes at once: counted, and reported with both versions.
 *
 * The functions of a group are called through its x_round only, which is changed by every patch of the group: so no
 * thread may move between two calls of one round.
 */
#ifndef TORTURE_H
#define TORTURE_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shared.h"

#define NOINLINE __attribute__((noinline))

/* How a thread spends the middle of a round. */
enum how {
	HOW_NOTHING,
	HOW_SPIN,
	HOW_READ,
	HOW_FUTEX,
	HOW_EPOLL,
	HOW_SLEEP,
	HOW_WRITE,
	HOW_FORK,
	HOW_EXEC,
	HOW_HOLD,
	HOW_JUMP
};

struct worker {
	struct torture_shared *shared;
	struct torture_worker *out;
	void (*mismatch)(struct worker *w, unsigned group, unsigned inner, unsigned where);
	/* What is on this thread's stack, per group: how many frames, of which version. Handlers nest. */
	volatile uint32_t depth[TORTURE_GROUPS], version[TORTURE_GROUPS];
	unsigned recursion; /* of b_round */
	volatile bool child, armed;
	volatile uint32_t word; /* HOW_FUTEX */
	uint64_t random, sent, seen;
	int message[2], event, poll, stream[2];
	char *buffer; /* HOW_WRITE */
	sigjmp_buf home;
};

static inline void torture_enter(struct worker *w, unsigned group, unsigned version, unsigned where)
{
	if (!w->depth[group])
		w->version[group] = version;
	w->depth[group] = w->depth[group] + 1;
	if (w->version[group] != version)
		w->mismatch(w, group, version, where);
	__atomic_fetch_add(w->child ? &w->shared->child_calls[group][version] : &w->out->calls[group][version], 1,
			   __ATOMIC_RELAXED);
}

/* Looks again: a handler may have entered the group in between. */
static inline void torture_leave(struct worker *w, unsigned group, unsigned version, unsigned where)
{
	if (w->version[group] != version)
		w->mismatch(w, group, version, where);
	w->depth[group] = w->depth[group] - 1;
}

static inline void torture_wrong(struct worker *w)
{
	__atomic_fetch_add(&w->shared->wrong, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&w->out->harm, 1, __ATOMIC_RELAXED);
}

static inline uint64_t torture_random(struct worker *w)
{
	uint64_t x = w->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return w->random = x;
}

/* wait.c: not patched */
void torture_block(struct worker *w, int how);

/* The groups. */
void a_round(struct worker *w, int how);
void b_round(struct worker *w, int how);
void c_round(struct worker *w, int how);
void l_round(struct worker *w, int how, void (*block)(struct worker *, int));
void p_round(struct worker *w, int how, void (*block)(struct worker *, int)); /* called by its address */

#endif
