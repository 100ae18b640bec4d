/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real time, where permitted: for the calling thread of the tool while a thread of the target waits for it (P3), and
 * for klp's own thread in the target while it executes what takes microseconds (P44): who only runs beside it cannot
 * keep it from a processor, where it might have the address space locked.
 */
#ifndef KLP_REALTIME_H
#define KLP_REALTIME_H
#include <sys/types.h>

struct klp_realtime {
	pid_t tid;
	int policy, priority; /* as before; policy -1: nothing was changed */
};
/* Of thread tid, 0 the calling one, which keeps what real time it has. Between the two, or its end. */
void klp_realtime_begin(struct klp_realtime *rt, pid_t tid);
void klp_realtime_end(const struct klp_realtime *rt);
/* Thread tid may have it from a tool that was killed. Known by SCHED_RESET_ON_FORK, which no thread has inherited. */
void klp_realtime_settle(pid_t tid);
#endif
