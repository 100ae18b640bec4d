/* SPDX-License-Identifier: Apache-2.0 */
/* Real time for the calling thread of the tool, where permitted, while a thread of the target waits for it (P3). */
#ifndef KLP_REALTIME_H
#define KLP_REALTIME_H
struct klp_realtime {
	int policy, priority; /* as before; policy -1: nothing was changed */
};
void klp_realtime_begin(struct klp_realtime *rt);
void klp_realtime_end(const struct klp_realtime *rt);
#endif
