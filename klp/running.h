/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done about a thread that does not block (invariant P2): a picture of it is taken where the kernel permits
 * that (klp/sample.h); else, or when pictures do not help, it may be interrupted, but only after it has answered
 * "running" many times in a row, and at most once a second (hazards A5, A6). Private to klp/.
 */
#ifndef KLP_RUNNING_H
#define KLP_RUNNING_H

#include "klp/proof.h"

/* What is kept of one thread from look to look; 0 at first, and again when it has been seen blocked. */
struct klp_running {
	unsigned answers; /* "running" in a row */
	unsigned clean;   /* pictures of a clean stack that did not move it */
	uint64_t since, interrupted_at;
	uint64_t pictured_at, picture_gap;
	uint64_t shown_at; /* the last picture that had a function being left on the stack */
};

enum klp_running_way {
	KLP_RUNNING_WAIT,      /* nothing is known; look again later */
	KLP_RUNNING_PICTURED,  /* proof says what the picture showed */
	KLP_RUNNING_INTERRUPT, /* the caller may interrupt it, now */
};

/* Before a round of looks at `threads` threads: how long it may wait for pictures in all. */
void klp_running_round(struct klp_session *s, size_t threads);

/* The thread has just answered "running". The caller has read its count before, so that it is older than the picture.
 */
enum klp_running_way klp_running_look(struct klp_session *s, pid_t tid, struct klp_running *r,
				      const struct klp_range *range, size_t count, struct klp_proof *proof);
/* A picture of it for those who only look: true if there is one, and the proof is filled. */
bool klp_running_show(struct klp_session *s, pid_t tid, const struct klp_range *range, size_t count,
		      struct klp_proof *proof);
/* It has been seen blocked. What was seen when of interrupts and pictures stays. */
void klp_running_rests(struct klp_running *r);

#endif
