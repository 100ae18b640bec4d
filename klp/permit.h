/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the helper may make its calls (hazard A4). It has the filters of the thread that made it, which were looked
 * at; while it lives, the program may install filters for all its threads (SECCOMP_FILTER_FLAG_TSYNC, seccomp(2)), and
 * one that klp's calls do not pass can kill the process. So their number is compared before each request, and where it
 * has changed they are evaluated. Between requests the helper makes no call that was not begun before (klp/wake.h).
 * Filters that come after that look are kept off by the helper's escort (klp/escort.h), if there were none before.
 *
 * A helper that may not make them is told to leave, in the stop in which that was seen, which ends its wait. If it may
 * not even do that, it waits for ever in a call that it may make; if there is none, in a loop, with the least priority.
 * Private to klp/.
 */
#ifndef KLP_PERMIT_H
#define KLP_PERMIT_H

#include "klp/remote.h"
#include "klp/seccomp.h"

/* Before a request, without an escort. 0, or -errno with KLP_SECCOMP: there is no helper (r->helper is 0), or one that
 * executes nothing.
 */
int klp_permit(struct klp_remote *r, struct klp_error *e);
/* The filters are those that it has seen: asked by the helper's escort, whom later ones do not harm. */
bool klp_permit_holds(const struct klp_remote *r);

/* Calls that are not always made. 0: the process has no filters, or they allow them. */
int klp_permit_calls(struct klp_remote *r, enum klp_seccomp_calls set, struct klp_error *e);

#endif
