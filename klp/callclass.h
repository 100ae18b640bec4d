/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an interrupted system call can bear (invariant P2, hazards A5 and A6). Sources: signal(7), "Interruption of
 * system calls and library functions by signal handlers"; the kernel's ERESTART codes (include/linux/errno.h).
 */
#ifndef KLP_CALLCLASS_H
#define KLP_CALLCLASS_H

#include "klp/process.h"

enum klp_call_class {
	KLP_CALL_NEVER,    /* may transfer partially, may not be repeated, or is not known */
	KLP_CALL_EXACT,    /* issued again it does exactly what it would have done: no relative timeout */
	KLP_CALL_TIMED_REG /* the same but for a relative timeout in milliseconds in a register */
};

struct klp_call {
	enum klp_call_class cls;
	unsigned timeout_arg;
};

struct klp_call klp_call_classify(const struct klp_process *p, const struct klp_task_syscall *s);
/* Calls that fail with EINTR after any interruption, and that may be issued again: the whitelist of P2. */
bool klp_call_eintr_restarts(long nr, const uint64_t arg[6]);

/* What a stop found in a thread's registers may be the work of the stop: EINTR of a call that is not repaired, a
 * transfer cut short. */
bool klp_call_ended_early(long nr, const uint64_t arg[6], long result);

#endif
