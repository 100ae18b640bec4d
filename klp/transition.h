/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transition: moves every thread of the target from universe 0 (before) to universe 1 (after) of one change, or
 * back. Private to klp/.
 *
 * Order of the steps, and the barrier pairs (S: the helper's membarrier, which pairs with the marked place of
 * klp/runtime/dispatch.c):
 *
 *   tid offset checked           E; taken back if a thread does not keep its tid there
 *   pc[] of the sites written    E; the parity of the transition id keeps late readers of the previous one apart
 *   transition word, S1          S1: dispatch that sees a stub in a slot also sees the word
 *   slots -> stubs, S2           S2: from here on every call of a changed function is dispatched
 *   threads listed, inserted     every thread that existed at S2 has an entry
 *   word sealed, S3              a thread without an entry is new, hence clean: it starts in the target universe
 *   sweeps: proof, verdict, S4, re-read of count       S4 pairs with "count before verdict" in dispatch (invariant T1)
 *   sites re-read (S4 of the design), slots final, S5, patch states, word 0
 *
 * A reversal stores the word with the target flipped and a new generation, then S: verdicts of the old generation are
 * void.
 */
#ifndef KLP_TRANSITION_H
#define KLP_TRANSITION_H

#include "klp/session.h"

/* Starts one for the patch, whose sites are armed. The record's state becomes ENABLING or DISABLING in the same
 * request. */
int klp_transition_start(struct klp_session *s, struct klp_patch *p, enum klp_transition_kind kind,
			 struct klp_error *e);
/* Turns the one in flight round. */
int klp_transition_reverse(struct klp_session *s, struct klp_error *e);
/* Moves threads until it is complete or the session's time is over: 0, or -EAGAIN/KLP_PENDING with s->pending filled.
 * Resumes one that a killed tool left at any step. */
int klp_transition_run(struct klp_session *s, struct klp_error *e);
/* Completes it without proofs. May crash the target when functions of the patch depend on each other, and says so. */
int klp_transition_force(struct klp_session *s, struct klp_error *e);

/* The patch that the transition in flight is about; NULL if there is none. */
struct klp_patch *klp_transition_patch(struct klp_session *s);

/* What a thread must not have on its stack to leave the given universe: malloc'ed ranges. For `klpctl check` also
 * without a transition. */
int klp_transition_ranges(struct klp_session *s, struct klp_patch *p, enum klp_transition_kind kind, unsigned leaving,
			  struct klp_range **range, size_t *count, struct klp_error *e);

/* "name" of the patched or replacing function that contains addr, or its address in hex, into buf. */
const char *klp_function_name(const struct klp_session *s, uint64_t addr, char *buf, size_t len);

#endif
