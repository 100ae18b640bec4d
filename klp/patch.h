/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded patches, as the control block of the target describes them. The engine keeps no state of its own: everything
 * here is read from the target at the start of each command, so that any klpctl can go on where another one was killed.
 *
 * The life of a patch (struct klp_rt_patch.state); every step is one store, so a kill between two of them leaves a
 * state that this table explains:
 *
 *   FREE -> LOADING          the record exists; its mappings and sites are being made. Found by a later command: undone
 *                            (klp/reclaim.c)
 *   LOADING -> DISABLED      before pre_patch, if the patch has callbacks: its code runs from here on
 *   LOADING, DISABLED -> ENABLING   together with the transition word, by one request of the helper
 *   ENABLING -> ENABLED      together with the final slots and the end of the transition word, by one request
 *   ENABLED -> DISABLING, DISABLING -> DISABLED   the same for unload
 *   DISABLED -> FREE         when its memory has been given back; stays DISABLED while that is not possible
 *   ENABLING <-> DISABLING   by reversal
 *
 * A patch of several objects has a record for each (struct klp_rt_patch.object), told by their equal `order`. Each has
 * its own place near its object, its own functions, callbacks and unwind information; they change their state together,
 * by one request. So a tool that is killed leaves all of them in one state, but for those that are being made (LOADING,
 * DISABLED before pre_patch) or given back (DISABLED, FREE), which calls do not reach.
 */
#ifndef KLP_PATCH_STATE_H
#define KLP_PATCH_STATE_H

#include "klp/module.h"
#include "klp/runtime/rt.h"

struct klp_session;

enum klp_patch_state {
	KLP_PATCH_FREE = 0,
	KLP_PATCH_LOADING,
	KLP_PATCH_ENABLING,
	KLP_PATCH_ENABLED,
	KLP_PATCH_DISABLING,
	KLP_PATCH_DISABLED,
	KLP_PATCH_STATES
};

enum klp_transition_kind { KLP_TRANSITION_NONE = 0, KLP_TRANSITION_LOAD = 1, KLP_TRANSITION_UNLOAD = 2 };

struct klp_patch {
	unsigned index;          /* in the control block's table */
	struct klp_rt_patch rec; /* copy of the record */
	bool has_meta;
	struct klp_module meta; /* parsed from the target's copy of the metadata */
	uint64_t *function;     /* rec.function_count pairs {site record, new function}, of the record's object */
};

/* The object that the record is about. */
static inline const struct klp_module_object *klp_patch_object(const struct klp_patch *p)
{
	return &p->meta.object[p->rec.object];
}

/* Do both records belong to one patch? */
static inline bool klp_patch_same(const struct klp_patch *a, const struct klp_patch *b)
{
	return a->rec.order == b->rec.order;
}

const char *klp_patch_state_name(unsigned state);

/* Reads all records. The array lives in the session until the next call. LOADING records come without metadata. */
int klp_patches_read(struct klp_session *s, struct klp_error *e);
void klp_patches_free(struct klp_session *s);

/* Is record number i of the list the first one of its patch? */
bool klp_patch_is_first(const struct klp_session *s, size_t i);

/* By name, states ENABLING to DISABLING, its first record; NULL if none. */
struct klp_patch *klp_patch_find(struct klp_session *s, const char *name);

/* Position in the stack, from 1, counting patches that are ENABLING, ENABLED or DISABLING; 0 if it is none of them. */
unsigned klp_patch_stack_order(const struct klp_session *s, const struct klp_patch *p);

/* Where calls through the site go when exactly the patches that `in` accepts are in effect: the highest one's function,
 * or 0 for the original body. *from is the patch it comes from, NULL for the original. */
uint64_t klp_patch_effective(const struct klp_session *s, uint64_t site_record,
			     bool (*in)(const struct klp_patch *p, const void *ctx), const void *ctx,
			     const struct klp_patch **from);

/* Writes state and order by one aligned store of the helper, as an op of a request. */
void klp_patch_state_op(const struct klp_session *s, const struct klp_patch *p, enum klp_patch_state state,
			struct klp_rt_op *op);
/* The same for all records of the patch: an op for each, at most KLP_MAX_PATCHES; returns how many. */
size_t klp_patch_state_ops(const struct klp_session *s, const struct klp_patch *p, enum klp_patch_state state,
			   struct klp_rt_op *op);

#endif
