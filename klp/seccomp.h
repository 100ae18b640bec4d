/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a stopped thread's seccomp filters allow exactly the system calls that klp makes in the target (hazard A4).
 */
#ifndef KLP_SECCOMP_H
#define KLP_SECCOMP_H
#include <sys/types.h>
#include "klp/include/klp/error.h"
#include "klp/process.h"

int klp_seccomp_check(pid_t tid, struct klp_error *e);

/* Calls that are not always made: */
enum klp_seccomp_calls {
	KLP_SECCOMP_SHADOW, /* for modules with shadow variables */
	KLP_SECCOMP_CLAIM,  /* by klp_core_claim */
};
/* The same of these, and of the helper, which is stopped for it: it has the filters of the thread that made it. 0 if
 * the process has no filters. */
int klp_seccomp_check_helper(const struct klp_process *p, pid_t helper, enum klp_seccomp_calls calls,
			     struct klp_error *e);
#endif
