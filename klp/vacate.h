/* SPDX-License-Identifier: Apache-2.0 */
/* Waits until nobody can be in some code any more. Private to klp/. */
#ifndef KLP_VACATE_H
#define KLP_VACATE_H

#include "klp/module.h"
#include "klp/session.h"

/*
 * Waits, at most wait_ms, until every thread has been seen with a reliable stack that touches none of the ranges, nor
 * klp's own text. Nothing leads into the ranges any more, so a thread that is born later is born outside, unless its
 * maker was inside (a bare clone() whose child goes on in place): so threads are listed again until no new one is older
 * than the last look of those before. Builds the session's tables anew, and reads the maps again: pointers to
 * s->p's mappings and objects are good no more. *waiting: how many have not been seen so.
 */
int klp_vacate(struct klp_session *s, const struct klp_range *range, size_t range_count, unsigned wait_ms,
	       size_t *waiting, struct klp_error *e);

#endif
