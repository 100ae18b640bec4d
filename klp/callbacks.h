/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Callbacks of a patch, in the order of the kernel's livepatch, each on a borrowed thread of the target (hazard B8).
 *
 * What has been run is written into the patch's record (struct klp_rt_patch.callbacks, one bit for each kind), so that
 * what is still owed follows from record and state alone, whoever looks:
 *
 *   DISABLED      pre_patch has passed, post_patch has not (or is taken back): post_unpatch is owed, once
 *   ENABLED       post_patch is owed unless its bit is set
 *
 * pre_unpatch takes post_patch's bit away, so an unload that is turned round owes a post_patch; a patch that was
 * replaced keeps it, so its post_unpatch never runs. A kind that the patch does not have counts as run.
 *
 * Private to klp/.
 */
#ifndef KLP_CALLBACKS_H
#define KLP_CALLBACKS_H

#include "klp/session.h"

/* Waits for a callback that an earlier tool began, and writes down what became of it. -EAGAIN/KLP_PENDING: it has not
 * returned. */
int klp_callbacks_settle(struct klp_session *s, struct klp_error *e);

/*
 * Passes the stage in the life of the patch with that record: runs its callback, if it has one. A patch without any
 * callback need not pass pre_patch, and passes none of the others then. The session's patches
 * are read again. -EDEADLK/KLP_NO_CALLBACK_THREAD: no thread may run it, nothing has changed; -EAGAIN/KLP_PENDING: it
 * has not returned; an error of pre_patch's own: KLP_CALLBACK.
 */
int klp_callback_stage(struct klp_session *s, unsigned index, enum klp_callback kind, struct klp_error *e);

/* The same for all records with that order, one object after the other; the first error ends it. */
int klp_callbacks_pass(struct klp_session *s, uint32_t order, enum klp_callback kind, struct klp_error *e);

/* Whether the record owes a callback in the state that it is in; *kind which. */
bool klp_callback_owed(const struct klp_rt_patch *rec, enum klp_callback *kind);
/* Runs what is owed. -EAGAIN/KLP_PENDING if it cannot be run now: it stays owed. */
int klp_callbacks_run_owed(struct klp_session *s, struct klp_error *e);

#endif
