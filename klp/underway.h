/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that a killed tool may have sent somewhere, and that have not been on a processor since: nothing in /proc
 * shows where such a thread will go on. What it was sent to do takes microseconds. So a thread is settled when it was
 * seen waiting in a call that klp sends nobody to, or when it has run for a millisecond since the first look.
 */
#ifndef KLP_UNDERWAY_H
#define KLP_UNDERWAY_H

#include "klp/process.h"

struct klp_underway {
	const struct klp_process *p;
	struct klp_underway_thread {
		pid_t tid;
		bool settled;
		uint64_t ran_ns; /* at the first look */
	} * thread;
	size_t count;
};

/* A thread that klp sent somewhere may be in this state: it runs, or is in one of the calls that klp sends threads to.
 */
bool klp_underway_may_be(const struct klp_task_syscall *s);

/* The first look at every thread. 0 or -errno; nothing to release then. */
int klp_underway_begin(const struct klp_process *p, struct klp_underway *u, struct klp_error *e);
/* Another look. The tid of a thread that is not settled, 0 if all are. */
pid_t klp_underway_look(struct klp_underway *u);
void klp_underway_end(struct klp_underway *u);
/* What is said of a thread that does not settle: -EBUSY. */
int klp_underway_fail(const struct klp_process *p, pid_t tid, struct klp_error *e);

#endif
