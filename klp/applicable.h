/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a module applies to a process: everything that can be checked before the target is touched. Private to klp/.
 */
#ifndef KLP_APPLICABLE_H
#define KLP_APPLICABLE_H

#include "klp/session.h"

/* The mapped objects that the module is for, by build-id, in the metadata's order. All must be there.
 * -ENOENT/KLP_NO_OBJECT: not applicable here. */
int klp_applicable_objects(struct klp_session *s, const struct klp_module *m,
			   const struct klp_object *o[KLP_MODULE_MAX_OBJECTS], struct klp_error *e);
/* The name fits a patch record and is printable. */
int klp_applicable_name(const struct klp_module *m, struct klp_error *e);
/* Machine, every function where the module says (digest of its bytes), a usable site, preemption, unwinding, sizes. If
 * a library goes meanwhile, the process's objects are read again: o may change. */
int klp_applicable_check(struct klp_session *s, const struct klp_module *m,
			 const struct klp_object *o[KLP_MODULE_MAX_OBJECTS], struct klp_error *e);

#endif
