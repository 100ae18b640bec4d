/* SPDX-License-Identifier: Apache-2.0 */
/* The places of the thread table in the target, which is made for one transition's threads. Private to klp/. */
#ifndef KLP_PLACES_H
#define KLP_PLACES_H

#include "klp/session.h"

/*
 * Before a transition starts, and only then: when a quarter of the places is taken, or a thread has found none, those
 * of threads that are no more become free again.
 */
int klp_places_tidy(struct klp_session *s, struct klp_error *e);

#endif
