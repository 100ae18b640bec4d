/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread stopped for the shortest time (invariant P3). Between klp_stop_begin and klp_stop_end the engine does no I/O, cannot be stopped by job control
 * and runs SCHED_FIFO where permitted.
 */
#ifndef KLP_STOP_H
#define KLP_STOP_H

#include <sys/user.h>

#include "klp/machine.h"
#include "klp/remote.h"

struct klp_stop {
	struct klp_remote *r;
	pid_t tid;
	uint64_t began_ns;
	struct user_regs_struct regs;
	bool in_call;           /* the stop interrupted a system call that would be restarted, or fails with EINTR */
	bool eintr;             /* its result is -EINTR of the whitelist: to be repaired */
	uint64_t mask;          /* signal mask */
	uint64_t old_signals;
};

/* 1: stopped; 0: it could not be stopped now, nothing has changed (a signal is being delivered, a group stop, it does not answer); -errno. */
int klp_stop_begin(struct klp_remote *r, pid_t tid, struct klp_stop *st, struct klp_error *e);
/* Lets it go on. regs_changed: the caller has set its registers; else the restart of an interrupted call is repaired. */
void klp_stop_end(struct klp_stop *st, bool regs_changed);

#endif
