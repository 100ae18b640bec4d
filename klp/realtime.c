/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/realtime.h"

#include <sched.h>
#include <stdbool.h>

#define KLP_SCHED_DEADLINE 6 /* linux/sched.h */

static bool klp_has_real_time(int policy)
{
	policy &= ~SCHED_RESET_ON_FORK;
	return policy == SCHED_FIFO || policy == SCHED_RR || policy == KLP_SCHED_DEADLINE;
}

void klp_realtime_begin(struct klp_realtime *rt, pid_t tid)
{
	struct sched_param param = {.sched_priority = 1};

	rt->tid = tid;
	rt->policy = sched_getscheduler(tid);
	if (rt->policy < 0 || sched_getparam(tid, &param))
		rt->policy = -1;
	rt->priority = param.sched_priority;
	param.sched_priority = 1;
	/* Who has real time already keeps it. */
	if (rt->policy < 0 || klp_has_real_time(rt->policy) ||
	    sched_setscheduler(tid, SCHED_FIFO | SCHED_RESET_ON_FORK, &param))
		rt->policy = -1; /* nothing to put back */
}

void klp_realtime_end(const struct klp_realtime *rt)
{
	struct sched_param param = {.sched_priority = rt->priority};

	/* Without privilege (RLIMIT_RTPRIO) the flag cannot be taken away again; the policy can. */
	if (rt->policy >= 0 && sched_setscheduler(rt->tid, rt->policy, &param))
		sched_setscheduler(rt->tid, rt->policy | SCHED_RESET_ON_FORK, &param);
}

void klp_realtime_settle(pid_t tid)
{
	struct sched_param param = {0};

	if (sched_getscheduler(tid) == (SCHED_FIFO | SCHED_RESET_ON_FORK) &&
	    sched_setscheduler(tid, SCHED_OTHER, &param))
		sched_setscheduler(tid, SCHED_OTHER | SCHED_RESET_ON_FORK, &param);
}
