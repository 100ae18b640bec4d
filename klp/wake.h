/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper waits for requests in one system call, which only its time or a stop ends (rt_sigtimedwait of no signal:
 * EINTR, and it is not begun anew; signal(7)). So it makes no call in between that a seccomp filter could have
 * forbidden since (klp/permit.h). A stop that comes just before the call ends nothing: whoever waits for a request
 * wakes the helper as long as it says that it sleeps (docs/model/wake.pml). Private to klp/.
 */
#ifndef KLP_WAKE_H
#define KLP_WAKE_H

#include <sys/types.h>

#include "klp/remote.h"

/* Ends the helper's wait, if the caller escorts it (klp/escort.h) and can be its tracer. Otherwise nothing: it looks
 * for a request when its time is over. */
void klp_wake(struct klp_remote *r);

/* Seizes the helper and stops it, for a look at it; the caller detaches it. On a thread that ends (klp/tracer.h), for
 * where this fails it may stop later. */
int klp_wake_stop(pid_t helper, struct klp_error *e);

#endif
