/* SPDX-License-Identifier: Apache-2.0 */
/* The helper: klp's own thread in the target, which leaves 2 s after the last request. Private to klp/; what it is
 * asked is klp/request.c. */
#ifndef KLP_HELPER_H
#define KLP_HELPER_H

#include "klp/remote.h"

/* Its tid in the caller's namespace by that in the target's; 0: there is none of that name. */
pid_t klp_helper_find(const struct klp_process *p, uint32_t ns_tid);
/* Starts it by a borrowed thread, unless one is there (r->helper). */
int klp_helper_start(struct klp_remote *r, unsigned wait_ms, struct klp_error *e);

#endif
