/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an interrupted system call can bear (invariant P2, hazards A5 and A6). Sources: signal(7), "Interruption of
 * system calls and library functions by signal handlers"; the kernel's ERESTART codes (include/linux/errno.h).
 */
#ifndef KLP_CALLCLASS_H
#define KLP_CALLCLASS_H

#include <sys/syscall.h>

#include "klp/process.h"

enum klp_call_class {
	KLP_CALL_NEVER,     /* may transfer partially, may not be repeated, or is not known */
	KLP_CALL_EXACT,     /* issued again it does exactly what it would have done: no relative timeout */
	KLP_CALL_TIMED_REG, /* the same but for a relative timeout in milliseconds in a register */
	/* The same, but the timeout lies in memory of the thread's own stack, and a stop leaves there what is left of
	 * it: select(2), "Linux modifies timeout"; poll_select_finish() in the kernel's fs/select.c. */
	KLP_CALL_TIMED_MEM
};

struct klp_call {
	enum klp_call_class cls;
	unsigned timeout_arg; /* TIMED_REG: which argument */
	/* TIMED_MEM: address of two words, seconds and parts of a second, and how many of these make one. */
	uint64_t timeout;
	uint32_t timeout_unit;
};

/* Of the call that the thread waits in. */
struct klp_call klp_call_classify(const struct klp_process *p, pid_t tid, const struct klp_task_syscall *s);
/* vfork, clone and clone3, in which a thread waits for a child that lives in its memory; and fork. */
static inline bool klp_call_makes_tasks(long nr)
{
#if defined(SYS_vfork)
	if (nr == SYS_vfork || nr == SYS_fork)
		return true;
#endif
	return nr == SYS_clone || nr == SYS_clone3;
}
/* Calls that fail with EINTR after any interruption, and that may be issued again: the whitelist of P2. */
bool klp_call_eintr_restarts(long nr, const uint64_t arg[6]);

/* What a stop found in a thread's registers may be the work of the stop: EINTR of a call that is not repaired, a
 * transfer cut short. */
bool klp_call_ended_early(long nr, const uint64_t arg[6], long result);

#endif
