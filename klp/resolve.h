/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the symbols of a module stand for in one process (invariants L1 and L2). Reads the target's memory: its dynamic
 * sections, symbol tables and relocated slots, all of them hostile.
 */
#ifndef KLP_RESOLVE_H
#define KLP_RESOLVE_H

#include "klp/module.h"

/* What is known of one symbol; asked for per kind, because a call may be bound where an address may not. */
struct klp_resolver;

/*
 * What only the loading engine can tell. run: runs an ifunc's resolver in the target: 0 and what it returned, or
 * -errno. For resolvers of the C library only, which read what the dynamic linker knows of the processor and nothing
 * else; those of other libraries may need a thread of the program (its thread-local variables, the dynamic linker's
 * locks).
 */
struct klp_chooser {
	int (*run)(void *ctx, uint64_t resolver, uint64_t *function, struct klp_error *e);
	void *ctx;
	/* The address of a function of klp's runtime. */
	int (*runtime)(void *ctx, const char *name, uint64_t *function, struct klp_error *e);
};

/* For symbols of modules that patch *o. All must outlive it. chooser: NULL, an ifunc that no object uses is refused. */
int klp_resolver_new(const struct klp_module *m, const struct klp_process *p, const struct klp_object *o,
		     const struct klp_chooser *chooser, struct klp_resolver **r, struct klp_error *e);
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
