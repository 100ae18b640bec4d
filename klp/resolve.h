/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the symbols of a module stand for in one process (invariants L1 and L2). Reads the target's memory and nothing
 * else: its dynamic sections, symbol tables and relocated slots, all of them hostile.
 */
#ifndef KLP_RESOLVE_H
#define KLP_RESOLVE_H

#include "klp/module.h"

/* What is known of one symbol; asked for per kind, because a call may be bound where an address may not. */
struct klp_resolver;

/* For symbols of modules that patch *o. Both must outlive it. */
int klp_resolver_new(const struct klp_module *m, const struct klp_process *p, const struct klp_object *o,
		     struct klp_resolver **r, struct klp_error *e);
void klp_resolver_free(struct klp_resolver *r);

/* The canonical address of symbol `index`: what the program's own pointers to it hold (L1). */
int klp_resolve_address(struct klp_resolver *r, size_t index, uint64_t *addr, struct klp_error *e);
/*
 * Where a direct call or tail jump goes. *near_plt: the object's own PLT entry, which does the same and is near the
 * object; 0 none.
 */
int klp_resolve_call(struct klp_resolver *r, size_t index, uint64_t *addr, uint64_t *near_plt, struct klp_error *e);

/* A thread-local variable. Each value is valid if its flag says so. */
struct klp_tls {
	bool has_tpoff, has_module, has_desc;
	int64_t tpoff;           /* offset from the thread pointer, equal in all threads */
	uint64_t module, dtpoff; /* arguments of __tls_get_addr */
	uint64_t desc[2];        /* a TLS descriptor: resolver and its argument */
};
int klp_resolve_tls(struct klp_resolver *r, size_t index, struct klp_tls *t, struct klp_error *e);

/*
 * For an exported function that is to be replaced: 0 if the process's own look-up ends at this object's definition,
 * else -EADDRNOTAVAIL/KLP_PREEMPTED naming the winner's object (P45), or KLP_AMBIGUOUS where the scope cannot be told.
 */
int klp_resolve_check_preempted(const struct klp_process *p, const struct klp_object *o,
				const struct klp_module_function *fn, struct klp_error *e);

#endif
