/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/stop.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "klp/callclass.h"
#include "klp/clock.h"
#include "klp/guard.h"
#include "klp/restart.h"
#include "klp/tracer.h"

#define KLP_STOP_WAIT_NS 20000000ull   /* a thread that does not stop by then is in uninterruptible sleep or vfork */
#define KLP_STOP_LONG_NS 1000000000ull /* and is given up then */
#define KLP_STOP_STARVED_NS 10000000000ull /* one that is on its way but gets no processor, then */
#define KLP_STOP_EVENT 128                 /* PTRACE_EVENT_STOP */
#define KLP_HOME_NS 1000000000ull          /* a borrowed thread that is not at home by then is let go where it is */
#define KLP_HOME_LOOK_NS 2000000ull        /* between two looks at a thread that does not wait in its call again */
#define KLP_WORK_FIRST_NS 20000            /* between two looks at a thread that runs a callback; doubles */
#define KLP_WORK_MAX_NS 1000000

/* The signal that it has stopped for and would take, of a wait status; 0: it has stopped for something else. Whoever
 * lets it go gives the signal back. */
static int klp_stop_signal(int status)
{
	return status <= 0 || status >> 16 ? 0 : WSTOPSIG(status);
}

static void klp_stop_signals(struct klp_stop *st, bool block)
{
	sigset_t set, old;

	sigemptyset(&set);
	if (block) {
		for (int s = 1; s < 32; s++)
			if (s != SIGSEGV && s != SIGBUS && s != SIGILL && s != SIGFPE && s != SIGTRAP && s != SIGABRT)
				sigaddset(&set, s);
		sigprocmask(SIG_BLOCK, &set, &old);
		memcpy(&st->old_signals, &old, sizeof(st->old_signals));
	} else {
		memcpy(&set, &st->old_signals, sizeof(st->old_signals));
		sigprocmask(SIG_SETMASK, &set, NULL);
	}
}

/* Between the two calls nothing may delay us: a stopped thread waits for us. */
static void klp_stop_hurry(struct klp_stop *st, bool on)
{
	if (on) {
		klp_stop_signals(st, true);
		klp_realtime_begin(&st->realtime, 0);
	} else {
		klp_realtime_end(&st->realtime);
		klp_stop_signals(st, false);
	}
}

/*
 * Waits for the stop, at most KLP_STOP_WAIT_NS. Returns the wait status, 0 if it has none yet, -1 if the thread is
 * gone. Until it stops it runs, or waits for a processor like any other: it stands still for us since the last look
 * that found it not stopped, at most.
 */
static int klp_stop_wait(struct klp_stop *st, uint64_t until)
{
	int status = 0;

	for (uint64_t asked = st->began_ns;;) {
		uint64_t now = klp_clock_now();
		pid_t got = waitpid(st->tid, &status, __WALL | WNOHANG);

		if (got == st->tid) {
			st->began_ns = asked;
			return WIFSTOPPED(status) ? status : -1;
		}
		asked = now;
		if (got < 0 && errno != EINTR)
			return -1;
		if (klp_clock_now() > until)
			return 0;
		if (until - klp_clock_now() < KLP_STOP_WAIT_NS - 50000) {
			struct timespec t = {0, 2000};

			nanosleep(&t, NULL);
		} else {
			sched_yield();
		}
	}
}

/* It wants a processor. If it was woken to stop its call has ended already, and only the stop can put that right. */
static bool klp_stop_runs(const struct klp_stop *st)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_info info;

	return !klp_task_status(st->r->p, st->tid, &info, &ignored) && info.state == 'R';
}

/*
 * It stops some day (uninterruptible sleep, vfork, a contended mmap): the answer must come at once then, so we stay
 * with it for a while. Meanwhile the tool can be interrupted: if that ends it, the thread was never stopped. 0: it has
 * not stopped. It cannot be detached then; the end of this tracing thread takes the request back (__ptrace_unlink()).
 */
static int klp_stop_wait_long(struct klp_stop *st)
{
	int status = klp_stop_wait(st, klp_clock_now() + KLP_STOP_WAIT_NS);
	uint64_t until = klp_clock_now() + KLP_STOP_LONG_NS, starved = klp_clock_now() + KLP_STOP_STARVED_NS;
	struct timespec pause = {0, 20000};

	if (status)
		return status;
	klp_stop_signals(st, false);
	while (!status && (klp_clock_now() < until || (klp_clock_now() < starved && klp_stop_runs(st)))) {
		st->began_ns = klp_clock_now();
		if (st->began_ns >= until)
			pause.tv_nsec = 200000; /* it is what it wants that this would take */
		nanosleep(&pause, NULL);
		status = klp_stop_wait(st, 0);
	}
	klp_stop_signals(st, true);
	return status;
}

/* It stands at the delivery of a signal that has a handler, and what the kernel does about its call is decided. */
static bool klp_stop_we_decide(const struct klp_process *p, pid_t tid, int signal)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_info info;

	return signal && !klp_registers_kernel_decides() && !klp_task_status(p, tid, &info, &ignored) &&
	       info.sig_caught >> (signal - 1) & 1;
}

/* It has stopped at this signal, or at none. The kernel then restarts the call by itself, or it is EINTR again if a
 * handler runs. */
static void klp_stop_repair(struct klp_stop *st, int signal)
{
	if (!st->eintr || klp_stop_we_decide(st->r->p, st->tid, signal))
		return;
	klp_registers_restart(&st->regs);
	klp_registers_set(st->tid, &st->regs);
}

/* For a tool that is killed while the thread stands: the kernel then lets it go with what it has. */
static void klp_stop_repair_early(const struct klp_stop *st)
{
	struct klp_registers regs = st->regs;

	if (st->eintr) {
		klp_registers_restart(&regs);
		klp_registers_set(st->tid, &regs);
	}
}

/* A handler ends its call with EINTR, whatever its flags; so an overtaken restart is known for what it is. Of other
 * calls only the handler's flags, which nobody shows, would tell. */
static bool klp_stop_ended_by_handlers(const struct klp_stop *st)
{
	return st->in_call && (st->eintr || klp_registers_end_with_handler(&st->regs));
}

/* now: its registers, NULL if they are not known. */
static void klp_stop_detach(struct klp_stop *st, const struct klp_registers *now, int signal)
{
	st->watch = klp_stop_ended_by_handlers(st);
	/* Of one that stands deeper in its stack than in that call, in a handler perhaps, the frames there are alive.
	 */
	if (st->watch && now && klp_registers_sp(now) >= klp_registers_sp(&st->regs))
		klp_restart_prepare(st);
	ptrace(PTRACE_DETACH, st->tid, NULL, (void *)(long)signal);
}

/* Why a thread cannot be seized. One that is exiting answers EPERM as well: that is no failure, there is nothing to
 * stop any more. */
static int klp_stop_refused(const struct klp_process *p, pid_t tid, int err, struct klp_error *e)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_info info;

	if (klp_task_status(p, tid, &info, &ignored) || info.state == 'Z' || info.state == 'X')
		return 0;
	return klp_fail(e, err, err == EPERM && info.tracer ? KLP_TRACED : KLP_PERMISSION,
			"thread %d cannot be seized: %s", tid, strerror(err));
}

/*
 * What the registers of a stopped thread may not show any more. The first look is before it is seized, for a signal
 * that it ignores can wake it from then on; a later one that finds it in a call is better.
 */
static void klp_stop_look(struct klp_stop *st)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_syscall s;

	if (!klp_registers_tell_all() && !klp_task_syscall(st->r->p, st->tid, &s, &ignored) && !s.running && s.nr >= 0)
		st->before = s;
}

static bool klp_stop_read(struct klp_stop *st)
{
	return klp_registers_get(st->r->p, st->tid, &st->before, &st->regs) &&
	       !ptrace(PTRACE_GETSIGMASK, st->tid, (void *)sizeof(st->mask), &st->mask);
}

/*
 * It has stopped at a signal that it is about to take, and takes it: it stops again at its handler's first instruction,
 * or where it is. It is asked once more, because any trap takes back what was asked for before (ptrace_stop() in the
 * kernel). Returns the wait status like klp_stop_wait.
 */
static int klp_stop_past_signal(struct klp_stop *st, int signal)
{
	uint64_t stood = klp_clock_now() - st->began_ns;
	int status;

	if (ptrace(PTRACE_INTERRUPT, st->tid, NULL, NULL) || ptrace(PTRACE_CONT, st->tid, NULL, (void *)(long)signal))
		return -1;
	status = klp_stop_wait_long(st);
	st->began_ns -= stood; /* both are one stop; between them it runs, or waits for a processor */
	return status;
}

static bool klp_stop_is_ours(int status)
{
	return status >> 16 == KLP_STOP_EVENT && WSTOPSIG(status) == SIGTRAP;
}

int klp_stop_begin(struct klp_remote *r, pid_t tid, struct klp_stop *st, struct klp_error *e)
{
	uint64_t arg[6];
	int status;
	long nr;

	memset(st, 0, sizeof(*st));
	st->r = r;
	st->tid = tid;
	st->before.running = true;
	klp_stop_look(st);
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL)) {
		if (errno == ESRCH)
			return 0;
		return klp_stop_refused(r->p, tid, errno, e);
	}
	st->signals_come = klp_guard_signals_come_to(r->p, tid) > 0;
	klp_stop_hurry(st, true);
	klp_stop_look(st);
	st->began_ns = klp_clock_now();
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL))
		goto gone;
	status = klp_stop_wait_long(st);
	if (status <= 0)
		goto gone;
	if (!klp_stop_read(st))
		goto unread;
	nr = klp_registers_call(&st->regs, arg);
	if (nr < 0 && !(status >> 16)) {
		/* Of a thread that steps itself every instruction is a signal. One that runs has no call to repair. */
		status = klp_stop_past_signal(st, WSTOPSIG(status));
		if (status <= 0)
			goto gone;
		if (!klp_stop_read(st))
			goto unread;
		nr = klp_registers_call(&st->regs, arg);
	}
	if (nr >= 0) {
		bool restarts = klp_registers_restarts(&st->regs);
		long result = klp_registers_result(&st->regs);

		st->eintr = !restarts && result == -EINTR && klp_call_eintr_restarts(nr, arg) &&
			    klp_registers_can_restart(&st->regs);
		if (!restarts && !st->eintr && klp_call_ended_early(nr, arg, result))
			r->early_returns++; /* nothing can undo it: it is reported */
		st->in_call = st->eintr || restarts;
	}
	if (!klp_stop_is_ours(status)) {
		/*
		 * A signal on its way goes on; a group stop is armed again by the detach. A signal that would be
		 * ignored wakes a traced thread too, and so may have ended its call: that is repaired like any other.
		 */
		klp_stop_repair(st, klp_stop_signal(status));
		klp_stop_detach(st, &st->regs, klp_stop_signal(status));
		klp_stop_hurry(st, false);
		if (st->watch)
			klp_restart_watch(st);
		return 0;
	}
	klp_stop_repair_early(st);
	r->threads_stopped++;
	return 1;
unread:
	ptrace(PTRACE_DETACH, tid, NULL, (void *)(long)klp_stop_signal(status));
gone:
	klp_stop_hurry(st, false);
	return 0;
}

int klp_stop_take_signal(struct klp_stop *st)
{
	uint64_t stood = klp_clock_now() - st->began_ns;
	int status;

	if (ptrace(PTRACE_CONT, st->tid, NULL, NULL))
		goto gone;
	status = klp_stop_wait_long(st);
	if (status > 0 && !(status >> 16))
		status = klp_stop_past_signal(st, WSTOPSIG(status));
	if (status <= 0)
		goto gone;
	st->began_ns -= stood;
	st->before.running = true; /* that call, if any, is over */
	if (klp_stop_is_ours(status) && klp_stop_read(st))
		return 1;
	ptrace(PTRACE_DETACH, st->tid, NULL, (void *)(long)klp_stop_signal(status));
gone:
	klp_stop_hurry(st, false);
	return 0;
}

static void klp_stop_ended(struct klp_stop *st)
{
	uint64_t took = klp_clock_now() - st->began_ns;

	klp_stop_hurry(st, false);
	if (took > st->r->longest_stop_ns)
		st->r->longest_stop_ns = took;
}

static bool klp_stop_in_chain(const struct klp_stop_chain *c, uint64_t sp, uint64_t pc)
{
	return c && sp >= c->stack[0] && sp < c->stack[1] &&
	       ((pc >= c->code[0][0] && pc < c->code[0][1]) || (pc >= c->code[1][0] && pc < c->code[1][1]));
}

/* About to issue its call again, sent there by the frame that it went home with or by the kernel's restart: the kernel
 * would handle a signal now and then begin the call, which nobody ends. */
static bool klp_stop_before_call(const struct klp_stop *st, const struct klp_registers *now)
{
	return klp_registers_sp(now) == klp_registers_sp(&st->regs) &&
	       klp_registers_pc(now) == klp_registers_call_at(&st->regs);
}

/*
 * The tracer's end has a moment as well, the last microseconds of its thread: a traced thread is woken by a signal that
 * it ignores, and if its call fails with EINTR after any wake-up, nobody is there to repair it. So in such a call the
 * main thread, and one that has children, are let go by a stop, and the kernel's restart of the call is watched
 * (klp/restart.h).
 */
static bool klp_stop_leaves_by_stop(const struct klp_stop *st)
{
	return st->eintr && st->signals_come;
}

void klp_stop_mend(const struct klp_process *p, pid_t tid, int signal, struct klp_registers *regs)
{
	uint64_t arg[6];
	long nr = klp_registers_call(regs, arg);

	if (nr >= 0 && !klp_registers_restarts(regs) && klp_registers_result(regs) == -EINTR &&
	    klp_call_eintr_restarts(nr, arg) && klp_registers_can_restart(regs) &&
	    !klp_stop_we_decide(p, tid, signal)) {
		klp_registers_restart(regs);
		klp_registers_set(tid, regs);
	}
}

/* About to issue its call again, by these registers: true if it is to go on without the signal that it has stopped for,
 * which it gets in its call. */
static bool klp_stop_holds(struct klp_stop *st, int signal, struct klp_registers *now)
{
	if (!klp_stop_we_decide(st->r->p, st->tid, signal))
		return false;
	if (!klp_stop_ended_by_handlers(st))
		return klp_held_take(&st->held, st->r->p, st->tid);
	klp_registers_end_call(now, -EINTR); /* whatever the handler's flags */
	return false;
}

/* It has stopped, at a signal or because it was asked to. true: it was let go; false: it is still on its way. */
static bool klp_stop_at_home(struct klp_stop *st, int status, const struct klp_registers *resume,
			     const struct klp_stop_chain *chain)
{
	bool event = status >> 16 != 0, again = false;
	int signal = klp_stop_signal(status);
	struct klp_registers now;

	if (!klp_registers_get(st->r->p, st->tid, &st->before, &now)) {
		klp_held_end(&st->held, st->r->p);
		return true;
	}
	if (event && klp_stop_in_chain(chain, klp_registers_sp(&now), klp_registers_pc(&now))) {
		ptrace(PTRACE_CONT, st->tid, NULL, NULL);
		return false;
	}
	if (klp_stop_before_call(st, &now)) {
		now = *resume;
		/* rt_sigreturn took away what -ERESTART_RESTARTBLOCK needs; the call is issued again with what is left
		 * of its timeout. */
		if (st->eintr || (chain && klp_registers_have_timeout(&now)))
			klp_registers_restart(&now);
		if (klp_stop_holds(st, signal, &now))
			signal = 0;
		klp_registers_set(st->tid, &now);
		again = true;
	} else {
		klp_stop_mend(st->r->p, st->tid, signal, &now);
		if (event)
			klp_held_send(&st->held, st->r->p, st->tid);
	}
	if (signal)
		klp_held_deliver(&st->held, st->tid);
	/* Its call is to begin anew, or signals are yet to come: it is not let go in that moment. */
	if (st->held.count || (event && (again || klp_registers_restarts(&now)) && !klp_stop_leaves_by_stop(st))) {
		ptrace(PTRACE_CONT, st->tid, NULL, (void *)(long)signal);
		return false;
	}
	/* The signal is delivered before anything else, so no restart comes before it. */
	klp_stop_detach(st, &now, signal);
	return true;
}

/* Whether it waits in its call again, or in another one of the program. */
static bool klp_stop_waits_again(struct klp_stop *st, const struct klp_stop_chain *chain)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_syscall s;

	if (klp_task_syscall(st->r->p, st->tid, &s, &ignored) || s.running || s.nr < 0 ||
	    klp_stop_in_chain(chain, s.sp, s.pc))
		return false;
	st->before = s;
	return true;
}

/*
 * It runs code of the program, traced but not stopped: its tracer only passes on what stops it by itself (a fault, a
 * SIGSTOP to the process). false: it is gone, or left to itself; it has not been stopped then.
 */
static bool klp_stop_works(struct klp_stop *st, const struct klp_stop_chain *chain)
{
	struct timespec pause = {0, KLP_WORK_FIRST_NS};
	int status, works;

	while ((works = chain->works(chain->ctx)) > 0 && !klp_tracer_is_orphan()) {
		int got = waitpid(st->tid, &status, __WALL | WNOHANG);

		if (got == st->tid && WIFSTOPPED(status)) {
			if (status >> 16 == KLP_STOP_EVENT && WSTOPSIG(status) != SIGTRAP)
				ptrace(PTRACE_LISTEN, st->tid, NULL, NULL); /* it stays stopped like the others */
			else
				ptrace(PTRACE_CONT, st->tid, NULL, (void *)(long)klp_stop_signal(status));
			continue;
		}
		if (got == st->tid || (got < 0 && errno != EINTR))
			return false;
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < KLP_WORK_MAX_NS)
			pause.tv_nsec *= 2;
	}
	return works == 0;
}

/* It does not arrive. What this stop does to a call that it may have begun meanwhile is put right. */
static void klp_stop_alone(struct klp_stop *st)
{
	struct klp_registers now;
	int status, signal;
	bool known;

	ptrace(PTRACE_INTERRUPT, st->tid, NULL, NULL);
	status = klp_stop_wait_long(st);
	signal = klp_stop_signal(status);
	known = status > 0 && klp_registers_get(st->r->p, st->tid, &st->before, &now);
	if (known)
		klp_stop_mend(st->r->p, st->tid, signal, &now);
	klp_held_send(&st->held, st->r->p, st->tid);
	klp_stop_detach(st, known ? &now : NULL, signal);
}

/* It goes on. Returns when it waits in its call again, still traced; or was let go at a signal or somewhere else. */
static void klp_stop_stay(struct klp_stop *st, const struct klp_registers *resume, const struct klp_stop_chain *chain)
{
	uint64_t until, look;
	bool home = false, waits;
	int status;

	ptrace(PTRACE_CONT, st->tid, NULL, NULL);
	klp_stop_ended(st);
	if (chain && chain->works && !klp_stop_works(st, chain))
		return;
	until = klp_clock_now() + KLP_HOME_NS;
	look = klp_clock_now() + KLP_HOME_LOOK_NS;
	while (!home) {
		int got = waitpid(st->tid, &status, __WALL | WNOHANG);

		if (got == st->tid && WIFSTOPPED(status)) {
			home = klp_stop_at_home(st, status, resume, chain);
			continue;
		}
		if (got == st->tid || (got < 0 && errno != EINTR)) {
			klp_held_end(&st->held, st->r->p);
			return; /* it is gone */
		}
		waits = klp_stop_waits_again(st, chain);
		if (waits && !st->held.count && !klp_stop_leaves_by_stop(st))
			return;
		if (waits)
			klp_held_send(&st->held, st->r->p, st->tid);
		if ((!waits || st->held.count) && klp_clock_now() < look) {
			struct timespec t = {0, 5000};

			nanosleep(&t, NULL);
			continue;
		}
		/* Its call has ended, or it is somewhere on its way: see where. */
		klp_stop_hurry(st, true);
		st->began_ns = klp_clock_now();
		if (!ptrace(PTRACE_INTERRUPT, st->tid, NULL, NULL)) {
			status = klp_stop_wait_long(st);
			if (status > 0)
				home = klp_stop_at_home(st, status, resume, chain);
			else
				home = true;
			if (!home && klp_clock_now() > until) {
				klp_stop_alone(st);
				home = true;
			}
		} else {
			home = true;
		}
		klp_stop_ended(st);
		look = klp_clock_now() + KLP_HOME_LOOK_NS;
	}
	if (st->watch)
		klp_restart_watch(st);
}

void klp_stop_end(struct klp_stop *st)
{
	klp_stop_repair(st, 0);
	if (st->in_call && !klp_stop_leaves_by_stop(st)) {
		klp_stop_stay(st, &st->regs, NULL);
		return;
	}
	klp_stop_detach(st, &st->regs, 0);
	klp_stop_ended(st);
	if (st->watch)
		klp_restart_watch(st);
}

void klp_stop_end_with_eintr(struct klp_stop *st, uint64_t sp, uint64_t pc)
{
	if (!st->in_call || klp_registers_sp(&st->regs) != sp || klp_registers_behind_call(&st->regs) != pc) {
		klp_stop_end(st);
		return;
	}
	klp_registers_end_call(&st->regs, -EINTR);
	klp_registers_set(st->tid, &st->regs);
	ptrace(PTRACE_DETACH, st->tid, NULL, NULL);
	klp_stop_ended(st);
}

void klp_stop_end_at_home(struct klp_stop *st, const struct klp_registers *resume, const struct klp_stop_chain *chain)
{
	if (st->in_call) {
		/* The call that it goes home to is that of `resume`, with what is left of its timeout. */
		st->before =
		    (struct klp_task_syscall){.sp = klp_registers_sp(resume), .pc = klp_registers_behind_call(resume)};
		st->before.nr = klp_registers_call(resume, st->before.arg);
		klp_stop_stay(st, resume, chain);
		return;
	}
	ptrace(PTRACE_DETACH, st->tid, NULL, NULL); /* user code: a signal finds it where it was */
	klp_stop_ended(st);
}
