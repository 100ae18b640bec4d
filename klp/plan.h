/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a transition changes: for every site of the patch, where it leads before and after, and what a thread must
 * leave. A pure function of the control block, so that a resuming tool computes the same plan as the one that began.
 * Private to klp/.
 */
#ifndef KLP_PLAN_H
#define KLP_PLAN_H

#include "klp/arming.h"

/* A transition begins and ends with one request of the helper. */
#define KLP_PLAN_MAX_SITES (KLP_MAX_OPS / 2 - 64)

struct klp_plan_site {
	struct klp_armed_site armed;
	uint64_t pc[2];                  /* by universe; the original body is armed.rt.original */
	const struct klp_patch *from[2]; /* the patch it comes from, NULL: the original */
};

struct klp_plan {
	struct klp_patch *patch; /* its first record */
	enum klp_transition_kind kind;
	bool replace;
	struct klp_plan_site *site; /* only those whose target changes */
	size_t count;
	struct klp_range *leave[2]; /* by universe: what a thread that leaves it must not have on its stack */
	size_t leave_count[2];
};

int klp_plan_make(struct klp_session *s, struct klp_patch *p, enum klp_transition_kind kind, struct klp_plan *out,
		  struct klp_error *e);
void klp_plan_free(struct klp_plan *plan);

/* Function number k of a record. */
const struct klp_module_function *klp_patch_function(const struct klp_patch *p, size_t k);

#endif
