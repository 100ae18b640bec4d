/* SPDX-License-Identifier: Apache-2.0 */
/* What arch/<name>/registers.c of such a machine calls: prepared/registers.c, which has the rest of klp/registers.h. */
#ifndef KLP_PREPARED_CALL_H
#define KLP_PREPARED_CALL_H

#include "klp/registers.h"

/* The general registers: r->user. */
bool klp_prepared_get(pid_t tid, struct klp_registers *r);
/* Finds the interrupted call of a stopped thread whose registers r has. */
void klp_prepared_find_call(const struct klp_process *p, pid_t tid, const struct klp_task_syscall *before,
			    struct klp_registers *r);
/* Of a thread that has just stopped behind a call which agrees with this one as far as registers tell: is that the
 * same, with the same first argument? */
bool klp_prepared_same_argument(const struct klp_process *p, pid_t tid, const struct klp_task_syscall *before);
void klp_prepared_make_call(struct klp_registers *r, long nr, const uint64_t arg[6], uint64_t gadget, uint64_t restorer,
			    uint64_t sp);
/* They are not the interrupted call's any more. */
void klp_prepared_forget_call(struct klp_registers *r);

#endif
