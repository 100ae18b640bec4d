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

void klp_realtime_begin(struct klp_realtime *rt)
{
	struct sched_param param = {.sched_priority = 1};

	rt->policy = sched_getscheduler(0);
	if (rt->policy < 0 || sched_getparam(0, &param))
		rt->policy = -1;
	rt->priority = param.sched_priority;
	param.sched_priority = 1;
	/* A tool that has real time already keeps its own. */
	if (rt->policy < 0 || klp_has_real_time(rt->policy) ||
	    sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param))
		rt->policy = -1; /* nothing to put back */
}

void klp_realtime_end(const struct klp_realtime *rt)
{
	struct sched_param param = {.sched_priority = rt->priority};

	/* Without privilege (RLIMIT_RTPRIO) the flag cannot be taken away again; the policy can. */
	if (rt->policy >= 0 && sched_setscheduler(0, rt->policy, &param))
		sched_setscheduler(0, rt->policy | SCHED_RESET_ON_FORK, &param);
}
