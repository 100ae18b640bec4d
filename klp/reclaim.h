/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving memory back: undoes what killed tools left (patches in LOADING), frees unloaded patches, disarms sites that no
 * patch uses, and takes the runtime itself out when nothing is left. Private to klp/.
 *
 * Nothing is unmapped before every thread has been seen, after the last disarming store and its core sync, with a
 * reliable stack that touches none of it; and no module text whose addresses may have escaped (`escapes` of its
 * metadata): that is kept, *pinned*.
 */
#ifndef KLP_RECLAIM_H
#define KLP_RECLAIM_H

#include "klp/session.h"

struct klp_reclaimed {
	bool complete;  /* nothing of klp is left in the target */
	size_t patches; /* given back now */
	size_t pinned;  /* kept because addresses of theirs may have escaped */
	size_t shadow;  /* shadow variables that are left when no patch is: they and the runtime stay */
	size_t waiting; /* threads that could not be proven out of klp's memory */
};

/* No transition may be in flight; the session must be started. Failing to free memory is no error: it is reported in
 * *out and tried again by the next command. */
int klp_reclaim(struct klp_session *s, unsigned wait_ms, struct klp_reclaimed *out, struct klp_error *e);

#endif
