/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shadow variables from outside (klp/runtime/shadow.h): their memory is made for the first module that calls them, and
 * given back with the runtime when no patch and no variable is left. Private to klp/.
 */
#ifndef KLP_SHADOW_ENGINE_H
#define KLP_SHADOW_ENGINE_H

#include "klp/session.h"

/* Makes the area if the module needs one and there is none. -EPERM/KLP_SECCOMP where the program's filters do not allow
 * the calls that the runtime would make. o: an object of the process to be near to. */
int klp_shadow_prepare(struct klp_session *s, const struct klp_module *m, const struct klp_object *o,
		       struct klp_error *e);

/* The address in the target of what modules call by this name. */
int klp_shadow_call(const struct klp_session *s, const char *name, uint64_t *addr, struct klp_error *e);

/* How many variables there are: also those that a thread is making or destroying now. */
int klp_shadow_count(const struct klp_session *s, size_t *count, struct klp_error *e);

/* Unmaps the area; only when no thread can be in klp's code and nothing is in it. */
int klp_shadow_drop(struct klp_session *s, struct klp_error *e);

#endif
