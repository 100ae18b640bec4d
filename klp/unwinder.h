/* SPDX-License-Identifier: Apache-2.0 */
/* The unwinder that a process uses for C++ exceptions, cancellation and backtrace(): libgcc_s. Reads only. Private to
 * klp/. */
#ifndef KLP_UNWINDER_H
#define KLP_UNWINDER_H

#include "klp/scope.h"

/* Where one libgcc_s looks for the unwind information of a frame. */
struct klp_unwinder {
	uint64_t slot, value; /* its address and what is in it */
	uint64_t original;    /* the function */
	bool lazy;            /* value leads to the dynamic linker */
	bool writable;
};

bool klp_is_unwinder(const struct klp_object *o);
/* 0; u->slot is 0 if the object does not call it through a slot. */
int klp_unwinder_read(struct klp_scope *scope, struct klp_dso *d, struct klp_unwinder *u, struct klp_error *e);

/* 0, or -EOPNOTSUPP/KLP_NO_UNWIND_INFO: this process's unwinder cannot be told of modules. */
int klp_unwinder_check(const struct klp_process *p, struct klp_error *e);

/* The same if an object has one of its own, which klp does not know: any object, or only this one. */
int klp_unwinder_check_own(const struct klp_process *p, const struct klp_object *only, struct klp_error *e);

#endif
