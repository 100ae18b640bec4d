/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a stopped thread's seccomp filters allow exactly the system calls that klp makes in the target (hazard A4).
 */
#ifndef KLP_SECCOMP_H
#define KLP_SECCOMP_H
#include <sys/types.h>
#include "klp/include/klp/error.h"
int klp_seccomp_check(pid_t tid, struct klp_error *e);
/* The same of the calls that are made for modules with shadow variables. */
int klp_seccomp_check_shadow(pid_t tid, struct klp_error *e);
#endif
