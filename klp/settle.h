/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for what killed tools have left under way in a target. Private to klp/. */
#ifndef KLP_SETTLE_H
#define KLP_SETTLE_H

#include "klp/remote.h"

/*
 * A killed tool may have left a thread on its way home, which reads the borrow frames, and a helper that does not show
 * its tid yet or any more, on the helper's stack. Waits until neither is there, so that frames, stack and code may be
 * used anew or unmapped. A helper that shows its tid is adopted (r->helper).
 */
int klp_settle_core(struct klp_remote *r, struct klp_error *e);
/*
 * A thread that a killed tool sent to map or unmap a core may not have come that far yet: waits for it, so that nothing
 * is built on what it is about to change. 1: somebody was waited for.
 */
int klp_settle_chains(struct klp_process *p, struct klp_error *e);
/*
 * A tool was killed while it took the core out: the thread that it borrowed for the munmap may be under way, and may
 * not have been on a processor since. Waits until the core is gone (1) or until nobody can be under way (0), so that
 * the core may be used again. -EBUSY if that does not come.
 */
int klp_settle_removal(struct klp_process *p, const struct klp_remote *r, struct klp_error *e);

#endif
