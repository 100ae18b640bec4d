/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread stopped for the shortest time (invariant P3). Between klp_stop_begin and klp_stop_end the engine does no
 * I/O, cannot be stopped by job control and runs SCHED_FIFO where permitted. Only on a thread of klp/tracer.h, for
 * klp_stop_end may leave the target's thread traced: the tracer's end is what lets it go.
 */
#ifndef KLP_STOP_H
#define KLP_STOP_H

#include "klp/handover.h"
#include "klp/realtime.h"
#include "klp/registers.h"
#include "klp/remote.h"

struct klp_stop {
	struct klp_remote *r;
	pid_t tid;
	uint64_t began_ns;
	struct klp_task_syscall before; /* its system call as it was just before */
	struct klp_registers regs;
	bool in_call;      /* the stop interrupted a system call that would be restarted, or fails with EINTR */
	bool eintr;        /* its result is -EINTR of the whitelist: to be repaired */
	bool signals_come; /* klp/guard.h: signals that the program ignores come to it while it is traced */
	bool watch;        /* klp_restart_watch when it has been let go */
	uint64_t mask;     /* signal mask */
	uint64_t old_signals;
	struct klp_held held;         /* signals that it gets when it is in its call again */
	struct klp_realtime realtime; /* of the tool itself */
};

/* 1: stopped; 0: it could not be stopped now, nothing has changed (a signal is being delivered, a group stop, it does
 * not answer); -errno. */
int klp_stop_begin(struct klp_remote *r, pid_t tid, struct klp_stop *st, struct klp_error *e);
/*
 * It was stopped running code, not in a call, and a signal of its own that it does not block is pending: it takes the
 * signal. 1: it is stopped as before, at the first instruction of its handler (or where it was, if there is none); 0:
 * it is not stopped any more, or has not stopped for us, and was let go.
 */
int klp_stop_take_signal(struct klp_stop *st);
/* Of a thread that has stopped, at this signal (0: at none): if its call has failed with EINTR and may be issued again,
 * the kernel restarts it, or it is EINTR all the same if a handler runs. */
void klp_stop_mend(const struct klp_process *p, pid_t tid, int signal, struct klp_registers *regs);
/* Lets it go on as it was. If the stop interrupted a call, this returns when it waits in that call again or has left
 * it. */
void klp_stop_end(struct klp_stop *st);
/* If it is in the call that returns to pc with that stack pointer, the call ends with EINTR; else the same. */
void klp_stop_end_with_eintr(struct klp_stop *st, uint64_t sp, uint64_t pc);
/* Where a borrowed thread is as long as it is not at home. */
struct klp_stop_chain {
	uint64_t code[2][2]; /* ranges of the program counter */
	uint64_t stack[2];   /* and of the stack pointer */
	/*
	 * It runs code of the program first, and is not stopped or looked at while this says 1; 0: it is on its way
	 * home; -1: it is left where it is. NULL: it does not.
	 */
	int (*works)(void *ctx);
	void *ctx;
};
/*
 * The same for a borrowed thread, whose registers the caller has set. If a signal comes before it waits in its call
 * again, the call is handed back to the kernel with the registers `resume`, so that the signal ends it as it would have
 * (hazard A2). No system call stops: a tracer's death in one of those kills (SIGTRAP). A tool that dies here leaves a
 * thread that goes home by itself.
 */
void klp_stop_end_at_home(struct klp_stop *st, const struct klp_registers *resume, const struct klp_stop_chain *chain);

#endif
