/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals handed over where the kernel decides. On some architectures (klp_registers_kernel_decides) the kernel settles
 * on its way into a stop whether a handler ends the interrupted call: a signal that comes when the released thread is
 * before the instruction that begins its call anew runs its handler, and the call then waits on (hazard A2). Whether it
 * should depends on SA_RESTART, which nobody shows. So such a signal is kept for the tens of microseconds until the
 * thread is in its call, is sent to it there, and given back what it said (siginfo) when it is delivered: the kernel
 * ends the call or not. The thread is traced all the time, so it stops at each signal's delivery.
 *
 * If the tool is killed in that time the signal is lost: nothing in the target could hold it.
 */
#ifndef KLP_HANDOVER_H
#define KLP_HANDOVER_H

#include <signal.h>
#include "klp/process.h"

#define KLP_HELD_MAX 16u

struct klp_held {
	struct klp_held_signal {
		siginfo_t info;
		bool sent;
	} signal[KLP_HELD_MAX];
	unsigned count;
};

/* Stopped at a signal's delivery: takes it; the thread goes on without. false: it is to be delivered. */
bool klp_held_take(struct klp_held *h, const struct klp_process *p, pid_t tid);
/* The thread is in its call, or not on its way there any more: they are sent. */
void klp_held_send(struct klp_held *h, const struct klp_process *p, pid_t tid);
/* Stopped at a signal's delivery that is to go on: if it is one of those, it says again what it said. */
void klp_held_deliver(struct klp_held *h, pid_t tid);
/* The thread has gone: what it has not been given goes to the process, if it was sent to that. */
void klp_held_end(struct klp_held *h, const struct klp_process *p);

#endif
