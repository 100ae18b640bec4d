/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sites that somebody else has put back: a uprobe or a breakpoint on a site's own first byte leaves, when it goes, the
 * byte of the file. Calls go past dispatch from the moment it came until the site is armed again. Private to klp/.
 */
#ifndef KLP_REARM_H
#define KLP_REARM_H

#include "klp/arming.h"
#include "klp/module.h"

/*
 * Arms those of the sites that are dormant or half armed, and moves them to the front of the list; *count: how many.
 * S2 as in klp_sites_arm; what somebody holds still, and what is gone, stays as it is. The session must be started.
 */
int klp_rearm(struct klp_session *s, struct klp_armed_site **site, size_t sites, size_t *count, struct klp_error *e);

/*
 * The same in a transition, where who went past a site meanwhile may still be in what is being left: waits, at most
 * wait_ms, until no thread is in any of the ranges. -EAGAIN (KLP_PENDING): some may be; the sites are as they were, so
 * that whoever comes next asks again.
 */
int klp_rearm_proven(struct klp_session *s, struct klp_armed_site **site, size_t sites, const struct klp_range *leave,
		     size_t leave_count, unsigned wait_ms, struct klp_error *e);

/* The sites of a patch that is loaded, which needs no proof: it ends as it was before. Starts the session if one is to
 * be armed; what the caller knows of the session's patches is void then. */
int klp_rearm_patch(struct klp_session *s, const struct klp_patch *p, size_t *count, struct klp_error *e);

#endif
