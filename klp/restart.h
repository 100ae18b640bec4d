/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restart that a signal has overtaken. A thread that is let go with -ERESTART* in its registers steps back to its
 * system call instruction, by the kernel, and makes the call anew. A signal that is handled in between (a third of a
 * microsecond) does not end the call: the handler's frame says "return to the instruction", and the call then begins
 * (hazard A2). Nobody but the thread could prevent that, but it can be seen afterwards: by that frame, which stays in
 * the dead stack below the thread's. Then the call is ended with EINTR, as the signal would have ended it.
 *
 * Not seen: a handler on an alternate stack, which no tool can find out.
 */
#ifndef KLP_RESTART_H
#define KLP_RESTART_H

#include "klp/stop.h"

/* Stopped in a call, before it is let go: no older frame is to be taken for one of a signal that is yet to come. */
void klp_restart_prepare(const struct klp_stop *st);
/* Behind the detach: waits until it is in its call again or not on its way there, and mends it. */
void klp_restart_watch(struct klp_stop *st);

#endif
