/* SPDX-License-Identifier: Apache-2.0 */
/* A look at every thread of a target, which is only read: klpctl check, stack and status. Private to klp/. */
#ifndef KLP_LOOK_H
#define KLP_LOOK_H

#include "klp/proof.h"
#include "klp/session.h"

typedef void (*klp_thread_fn)(struct klp_session *s, pid_t tid, const struct klp_proof *proof, void *ctx);

/* A proof of every thread, from where it is blocked or from a picture of it while it runs, against the given ranges. */
int klp_look_at_threads(struct klp_session *s, const struct klp_range *range, size_t count, klp_thread_fn fn, void *ctx,
			struct klp_error *e);

/* A thread that is waited for, as load, unload, check and status name it. function 0: not known. */
void klp_pending_add(const struct klp_session *s, json_t *list, pid_t tid, uint64_t function, enum klp_reason reason,
		     uint64_t since_ms);

/*
 * The threads that the transition in flight has not moved: those whose entries are of the universe that is left,
 * without a verdict, and why each of them would not get one at this moment (KLP_OK: it would). since_ms is how long the
 * transition has lasted.
 */
int klp_transition_waits_for(struct klp_session *s, json_t *list, uint64_t since_ms, struct klp_error *e);

#endif
