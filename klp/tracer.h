/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread of the tool that traces, and ends. ptrace can let a thread go in two ways: PTRACE_DETACH, for which it must
 * be stopped, or the end of its tracer, which does not touch it (ptrace(2); exit_ptrace() in kernel/ptrace.c). A stop
 * ends the system call that the thread waits in, and the kernel's restart of that call has a moment in which a signal
 * is handled before the call begins anew and so does not end it: `while (!quit) epoll_wait()` sleeps on (hazard A2). So
 * the thread that was stopped is left to its tracer until it waits in its call again, a signal that comes before that
 * is seen in its delivery stop and put right, and then the tracer ends.
 * (klp_stop_leaves_by_stop says when not.)
 *
 * All of klp/stop.h happens on such a thread.
 *
 * kill -9 of the tool ends its tracing thread too, and a thread that it has told to stop keeps what the stop made of
 * its call, EINTR perhaps, for nobody puts its registers right. So the tracing is done by a child of the tracing thread
 * that shares everything with it but the process: kill -9 of the tool does not meet it, it ends its stop and then
 * itself, and the lock of the target, whose descriptor it shares, stays taken until then. The tracing thread waits
 * inside clone() meanwhile. Where there is no such child to be had, and under ThreadSanitizer, the thread itself
 * traces. Whoever kills both (a control group, a session) still finds the registers put right from the first
 * microseconds of a stop on (klp_stop_repair_early).
 */
#ifndef KLP_TRACER_H
#define KLP_TRACER_H

#include <stdbool.h>

#include "klp/include/klp/error.h"

/* Runs fn(arg) on a thread of its own, or that one's child, and returns what it returned, when the kernel has let go of
 * everything that it traced. -ENOMEM when there is no such thread to be had, -EINTR when its child was killed. The
 * caller's signals are blocked meanwhile: those of the process go to the other thread, which takes them when nobody is
 * stopped. */
int klp_tracer_run(int (*fn)(void *arg), void *arg, struct klp_error *e);
/* The same, and meanwhile the caller, a tracing thread itself, calls serve(ctx) every 100 microseconds. */
int klp_tracer_run_beside(int (*fn)(void *arg), void *arg, void (*serve)(void *ctx), void *ctx, struct klp_error *e);

/* Asked in fn: the tool has been killed. What is under way is to be ended, and nothing is to be waited for that takes
 * its time. */
bool klp_tracer_is_orphan(void);

#endif
