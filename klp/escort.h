/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper under escort (hazard A4): from before a request is posted until the helper waits in its call again, a
 * thread of the tool traces it with PTRACE_O_SUSPEND_SECCOMP (ptrace(2)), so a filter that comes meanwhile for all
 * threads does not kill the process for a call of klp's. Only a helper without a filter is escorted so: whoever holds
 * the target's memory could write what the helper does, and a sandbox that was there before klp stays closed. It takes
 * CAP_SYS_ADMIN. Where it is not so, the escort is the helper's tracer alone.
 *
 * PTRACE_DETACH is for a thread that is stopped, and a stop ends the helper's wait; the end of its tracer does not
 * touch it (klp/tracer.h). Therefore a thread. It is not the child of klp_tracer_run, which takes a millisecond: the
 * helper's calls need no repair when the tool is killed. Private to klp/.
 */
#ifndef KLP_ESCORT_H
#define KLP_ESCORT_H

#include "klp/remote.h"

/* fn(arg) on a thread that is the helper's tracer where that can be, and that ends when the helper waits again. Within
 * fn: by the same thread. `brief`: what the helper is asked takes microseconds; both have real time (klp/realtime.h).
 * Returns what fn did, or -ENOMEM. The caller's signals of job control are blocked meanwhile, for a process that is
 * killed is not gone before its tracer has seen that. */
int klp_escort_run(struct klp_remote *r, bool brief, int (*fn)(struct klp_remote *r, void *arg, struct klp_error *e),
		   void *arg, struct klp_error *e);

/* In fn. To be the tracer of a helper that was started since: 0 or -errno. */
int klp_escort_seize(struct klp_remote *r);
/* What a tracer owes: every few microseconds. */
void klp_escort_serve(struct klp_remote *r);
/* A stop, in klp_escort_serve, that ends the helper's wait. */
void klp_escort_interrupt(struct klp_remote *r);

#endif
