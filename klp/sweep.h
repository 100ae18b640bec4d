/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look at every thread that has not moved: proof, verdict, and the look whether the verdict holds (invariant T1).
 * Private to klp/.
 */
#ifndef KLP_SWEEP_H
#define KLP_SWEEP_H

#include "klp/movers.h"

/* All threads once. *left = how many have not moved, *running: one of them answered "running". */
int klp_sweep(struct klp_run *run, size_t *left, bool *running, struct klp_error *e);
/* Fills the session's `pending` with those that have not moved. */
void klp_sweep_pending(struct klp_run *run);

#endif
