/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows an address through the registers of a function's code, on every path, until nothing holds it any more or it
 * gets away: to memory, into a call, to somebody else's code. The architecture says what each instruction does.
 */
#ifndef KLP_OBJDIFF_FOLLOW_H
#define KLP_OBJDIFF_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

struct od_sec;

#define OD_FOLLOW_MAX (1u << 21) /* units of one section */

/* One instruction. */
struct od_step {
	uint32_t taint; /* the registers that may hold the address, or something computed from it; before it, then
			 * behind it */
	/* Of them those that hold it once whichever way led here, with only other things added to it: the difference of
	 * two is nobody's address, and their comparison is one of a thing with itself. */
	uint32_t exact;
	unsigned len; /* its bytes */
	bool escapes;
	bool ends; /* nothing is behind it */
	bool jumps;
	uint64_t target;
};

/* The instruction at `at`. seen: what holds the address before each unit of the section, as far as it is known. false:
 * it cannot be decoded. */
typedef bool (*od_step_fn)(const struct od_sec *s, uint64_t at, const uint32_t *seen, void *ctx, struct od_step *t);

/* From the instruction at `from` on; unit: what its place and length are multiples of. false: it gets away, or nobody
 * can say. */
bool od_follow(const struct od_sec *s, uint64_t from, uint32_t taint, unsigned unit, od_step_fn step, void *ctx);

#endif
