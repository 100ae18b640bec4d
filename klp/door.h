/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proof 2: at the door (section 8 of the design, way 2). A thread that is always inside functions being left, running
 * or blocked, is caught in the moment in which it enters one from a clean stack: it is invited (struct klp_rt_door),
 * takes the seat at its next entry, says where its registers lie, and waits, at most KLP_DOOR_PATIENCE_NS, while its
 * stack is read. There is one seat, so never more than one thread waits (P3).
 *
 * Why that is a proof: the mark in_sp and the count are the same before and after the stack was read, so the thread was
 * in that very dispatch all the time, and what lies above its frame did not change. The verdict names the count before
 * that dispatch's own increment, so no other dispatch can apply it (T1); the thread is believed to have moved only when
 * its entry says so. A dispatch that a handler on top of it has interrupted, or one that has decided and not yet
 * entered its function, shows as a trampoline in the trace, which is then not reliable.
 *
 * A function being left may have passed its own call on by a jump, and is not on the stack any more: the call is still
 * its call. So either no function being left can jump to the one that is entered, or the instruction before the return
 * address is a call of that very function (klp/callsite.h): then whoever calls has not been changed, and the arguments
 * are those of both versions. Private to klp/.
 */
#ifndef KLP_DOOR_H
#define KLP_DOOR_H

#include "klp/plan.h"
#include "klp/session.h"

#define KLP_DOOR_PATIENCE_NS 80000u /* the longest wait of a thread for its answer */

/* A thread that may be invited. */
struct klp_guest {
	pid_t tid;
	uint32_t index; /* of its entry */
	/* kept from call to call, 0 at first */
	uint64_t thread_pointer, above, not_before;
	unsigned refused;
	/* out */
	bool looked; /* it was at the door: what the proof said is in reason and function */
	bool moved;  /* its entry says so */
	enum klp_reason reason;
	uint64_t function;
};

/* Which of the plan's sites (by index) functions that are left may jump to: malloc'ed. For klp_door_wait, which needs
 * it often. */
int klp_door_passed_on(struct klp_session *s, const struct klp_plan *plan, bool **passed_on, struct klp_error *e);

/*
 * Spends `ns` at the door: invites as many of the guests as there are doors, in turns that begin with `turn`, and
 * proves those that come. Ends early when all have moved. A dead tool leaves invitations behind; each costs its thread
 * one wait.
 */
int klp_door_wait(struct klp_session *s, const struct klp_plan *plan, const bool *passed_on,
		  struct klp_guest *const *guest, size_t count, unsigned turn, uint64_t ns, struct klp_error *e);

#endif
