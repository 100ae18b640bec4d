/* SPDX-License-Identifier: Apache-2.0 */
/* Waits until nobody can be in some code any more. Private to klp/. */
#ifndef KLP_VACATE_H
#define KLP_VACATE_H

#include "klp/module.h"
#include "klp/session.h"

/*
 * Waits, at most wait_ms, until every thread that exists now has been seen with a reliable stack that touches none of
 * the ranges, nor klp's own text; later ones are born outside. Builds the session's tables anew. *waiting: how many
 * have not.
 */
int klp_vacate(struct klp_session *s, const struct klp_range *range, size_t range_count, unsigned wait_ms,
	       size_t *waiting, struct klp_error *e);

#endif
