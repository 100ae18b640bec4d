/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a stop does to the threads beside it. A signal to a process that ignores it is dropped by the kernel, unless the
 * thread that it is meant for is traced or blocks it (sig_ignored() in kernel/signal.c): the main thread, or of
 * SIGCHLD the thread that made the child. While that one cannot take the signal, being stopped or borrowed with every
 * signal blocked, the kernel wakes any other thread for it (complete_signal()), whose epoll_wait then fails with EINTR.
 * So klp stops another thread if it can choose (klp/borrow.c), and else the threads beside it are traced as long: they
 * stop at the signal, and their calls are put right like that of the stopped thread (invariant P2).
 *
 * What is left:
 * - If another thread takes the signal before the one that was woken for it has come so far, its EINTR remains.
 * - The guarded thread's call is begun anew by the kernel. A signal with a handler that comes in the microseconds
 *   before that runs its handler, and the call then waits on instead of ending with EINTR (hazard A2); klp/restart.h
 *   watches for that only in the thread that is stopped.
 * - A thread that is born meanwhile is not seen, and one that stands at such a signal in the moment in which the tool
 * is killed is not put right.
 *
 * Where the kernel does not tell who has children (no CONFIG_PROC_CHILDREN) signals may be meant for every thread: each
 * borrowing then reads the call of all threads, and traces those in such a call.
 */
#ifndef KLP_GUARD_H
#define KLP_GUARD_H

#include "klp/process.h"

/* Whether signals to the process may be meant for this thread. 1 or 0; -1: it is not the main thread, and the kernel
 * does not tell which thread has children (CONFIG_PROC_CHILDREN). */
int klp_guard_signals_come_to(const struct klp_process *p, pid_t tid);

/* klp_tracer_run for a function that stops thread tid, the others guarded where that is needed. */
int klp_guard_run(const struct klp_process *p, pid_t tid, int (*fn)(void *arg), void *arg, struct klp_error *e);

#endif
