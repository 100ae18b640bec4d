/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/borrow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <time.h>

#include "klp/callclass.h"
#include "klp/clock.h"
#include "klp/frame.h"
#include "klp/guard.h"
#include "klp/seccomp.h"

#define KLP_STACK_ROOM (16u << 10)  /* A3: more than the frames below the stack pointer, inside its mapping */
#define KLP_GROWTH_GUARD (1u << 20) /* the kernel keeps this far from what is below a growing stack */
#define KLP_PICK_PAUSE_NS 200000ull
#define KLP_PICK_PAUSE_MAX_NS 100000000ull    /* after stops in vain */
#define KLP_PICK_VISIT_PAUSE_MAX_NS 400000ull /* stacks have been walked; well below KLP_WATCH_GAP_NS */
#define KLP_ADDRESSED_AFTER \
	2u /* passes before a thread that signals come to, if it has others: klp/guard.h, klp/tracer.h */
#define KLP_TIMED_AFTER 40u                    /* passes without an exact call before timed ones are watched */
#define KLP_FRAME_ROOM (2 * KLP_RT_FRAME_SIZE) /* a way home, and those of the calls before it */
#define KLP_WATCH_GAP_NS 2000000ull            /* a thread not looked at for longer may have waited for as long */
#define KLP_MISSED_WAITS 2u                    /* begun while this machine let us sleep too long: then no sleeps */
#define KLP_AWAKE_NS 3000000000ull             /* for so long at most, and then for as long not */
#define KLP_RUNNING_SAMPLES 16u                /* P2: "running" answers in a row before a running thread is stopped */
#define KLP_RUNNING_SPAN_NS 100000000ull       /* spread over this long */

struct klp_watched {
	pid_t tid;
	uint64_t switches;
	uint64_t seen_ns;
	unsigned running; /* "running" answers in a row */
	uint64_t running_since;
	uint64_t refused; /* klp_borrow_visit.look said no: `switches` then, plus 1 */
};

struct klp_picker {
	struct klp_remote *r;
	uint64_t gadget, restorer; /* of the target's own text; 0: through the image */
	const struct klp_borrow_call *call;
	size_t call_count;
	const struct klp_borrow_visit *visit; /* NULL: calls, or the helper */
	uint32_t visitor;                     /* who runs a callback: is on its way home from there, 0 nobody */
	struct klp_watched *watched;
	size_t watched_count;
	unsigned missed;             /* beginnings of timed calls that were not seen in time */
	uint64_t awake_since;        /* looking without a pause, 0 not */
	uint8_t *frame;              /* KLP_FRAME_ROOM bytes: no memory is asked for while a thread is stopped */
	struct klp_stop_chain chain; /* where the borrowed one is until it is home */
	enum klp_reason why;         /* why the last one could not be taken */
	const char *what;
};

/* A3: the stack pointer lies on the thread's own stack, with room below. */
static bool klp_stack_has_room(const struct klp_process *p, uint64_t sp, uint64_t tp, size_t need)
{
	const struct klp_mapping *m = klp_process_mapping(p, sp);
	const struct klp_mapping *below;

	if (!m || (m->prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) != (PROT_READ | PROT_WRITE) || m->shared)
		return false;
	/*
	 * Its own stack ends below its thread control block, the main thread's below the program's arguments. A thread
	 * control block on the heap (the main thread of a static program) says nothing: an alternate stack or a
	 * coroutine's may be there too.
	 */
	if (!strcmp(m->path, "[stack]")) {
		if (p->start_stack && sp > p->start_stack)
			return false;
	} else if (!strcmp(m->path, "[heap]") || tp < m->start || tp >= m->end || sp >= tp) {
		return false;
	}
	below = klp_process_mapping(p, sp - KLP_RED_ZONE - need - KLP_STACK_ROOM);
	return below == m;
}

/* The registers that the thread goes home with. late_ms: how much of a relative timeout has passed. */
static void klp_home_registers(const struct klp_stop *st, const struct klp_call *call, uint64_t late_ms,
			       struct klp_registers *restart, struct klp_registers *eintr)
{
	*restart = *eintr = st->regs;
	if (!st->in_call)
		return;
	klp_registers_before_call(restart);
	if (call->cls == KLP_CALL_TIMED_REG) {
		uint64_t ms = klp_registers_argument(restart, call->timeout_arg) & 0xffffffffu;

		klp_registers_set_argument(restart, call->timeout_arg, ms > late_ms ? ms - late_ms : 0);
	}
	klp_registers_end_call(eintr, -EINTR);
}

/*
 * It goes where the registers say, every signal blocked. Registers first, then the mask: a tool killed in between must
 * not leave signals blocked for ever; the frame holds the mask.
 */
static int klp_borrow_redirect(const struct klp_stop *st, const struct klp_registers *regs)
{
	uint64_t all = ~0ull;

	if (!klp_registers_set(st->tid, regs))
		return 0;
	ptrace(PTRACE_SETSIGMASK, st->tid, (void *)8, &all);
	return 1;
}

static int klp_borrow_by_gadget(struct klp_picker *k, struct klp_stop *st, const struct klp_registers *home,
				struct klp_error *e)
{
	struct klp_process *p = k->r->p;
	size_t home_len = klp_frame_size(st->tid), call_len = klp_frame_bare_size();
	size_t need = home_len + k->call_count * call_len + 256;
	uint8_t *buf = k->frame;
	uint64_t base, home_at;
	struct klp_registers regs = *home;
	uint64_t sp = klp_registers_sp(&st->regs);
	int rc;

	if (!home_len || need + 64 > KLP_FRAME_ROOM ||
	    !klp_stack_has_room(p, sp, klp_registers_thread_pointer(&st->regs), need)) {
		k->why = KLP_NO_ROOM;
		k->what = "its stack pointer is not on its own stack, or there is too little room below it";
		return 0;
	}
	base = (sp - KLP_RED_ZONE - need) & ~63ull;
	memset(buf, 0, need + 64);
	/*
	 * The chain, from low to high: for each further call a frame that makes it, then the frame that goes home. Each
	 * `ret` of the gadget finds the restorer, each rt_sigreturn the frame behind it: [restorer][frame of call
	 * 1][restorer][home].
	 */
	home_at = base + (k->call_count - 1) * call_len;
	home_at = (home_at + 63) & ~63ull;
	rc = klp_frame_build(st->tid, home, st->mask, k->restorer, home_at, buf + (home_at - base),
			     need - (size_t)(home_at - base));
	for (size_t i = k->call_count; !rc && i-- > 1;) {
		uint64_t at = base + (i - 1) * call_len;

		klp_registers_make_call(&regs, k->call[i].nr, k->call[i].arg, k->gadget, k->restorer,
					i + 1 == k->call_count ? home_at : at + call_len);
		rc = klp_frame_build_bare(&regs, ~0ull, k->restorer, at, buf + (at - base), call_len);
	}
	if (!rc)
		rc = klp_process_write(p, base, buf, need, e);
	if (rc) {
		k->why = KLP_NO_ROOM;
		k->what = "its stack could not be written";
		return 0;
	}
	regs = st->regs;
	klp_registers_make_call(&regs, k->call[0].nr, k->call[0].arg, k->gadget, k->restorer,
				k->call_count > 1 ? base : home_at);
	k->chain = (struct klp_stop_chain){
	    {{k->gadget, k->gadget + KLP_GADGET_LEN}, {k->restorer, k->restorer + KLP_RESTORER_LEN}},
	    {base, base + need},
	    NULL,
	    NULL};
	return klp_borrow_redirect(st, &regs);
}

/* A callback is ordinary code: the stack may have to grow under it. */
static bool klp_stack_may_grow(const struct klp_process *p, uint64_t sp, uint64_t room)
{
	const struct klp_mapping *m = klp_process_mapping(p, sp);
	uint64_t low = sp - room - KLP_GROWTH_GUARD, end = p->start_stack;

	if (!m || !m->grows_down || strcmp(m->path, "[stack]") || !p->start_stack || sp > p->start_stack || low > sp ||
	    (p->stack_limit != UINT64_MAX && end - low > p->stack_limit))
		return false;
	for (size_t i = 0; i < p->map_count; i++)
		if (p->map[i].end > low && p->map[i].start < m->start)
			return false;
	return true;
}

bool klp_borrow_room(const struct klp_process *p, uint64_t sp, uint64_t thread_pointer, uint64_t room)
{
	return klp_stack_has_room(p, sp, thread_pointer, room) || klp_stack_may_grow(p, sp, room);
}

static int klp_borrow_by_image(struct klp_picker *k, struct klp_stop *st, pid_t ns_tid, const struct klp_call *call,
			       const struct klp_registers *restart, const struct klp_registers *eintr,
			       struct klp_error *e)
{
	struct klp_remote *r = k->r;
	const bool visit = k->visit != NULL;
	uint64_t frames =
	    r->cb + (visit ? offsetof(struct klp_rt_cb, callback_frame) : offsetof(struct klp_rt_cb, frame));
	uint64_t record =
	    r->cb + (visit ? offsetof(struct klp_rt_cb, callback_borrow) : offsetof(struct klp_rt_cb, borrow));
	uint64_t frame[2] = {frames, frames + KLP_RT_FRAME_SIZE};
	size_t len = klp_frame_size(st->tid);
	struct klp_registers regs = st->regs;
	struct klp_rt_borrow b = {
	    .cb = r->cb,
	    .reserved = {(uint64_t)ns_tid},
	    .frame_restart = frame[0] + KLP_FRAME_RETURN,
	    .frame_eintr = frame[1] + KLP_FRAME_RETURN,
	    .old_mask = st->mask,
	    .eintr_always = klp_registers_end_with_handler(&st->regs) || st->eintr,
	    .has_call = st->in_call,
	    .stack_top = r->cb + offsetof(struct klp_rt_cb, stack) + KLP_RT_STACK_SIZE,
	    .result = r->cb + offsetof(struct klp_rt_cb, borrow_result),
	    .scratch = r->cb + (visit ? offsetof(struct klp_rt_cb, callback_scratch)
				      : offsetof(struct klp_rt_cb, borrow_scratch)),
	};
	uint8_t *buf = k->frame;
	int rc;

	if (!len || len > KLP_RT_FRAME_SIZE) {
		k->why = KLP_NO_ROOM;
		k->what = "its extended state is larger than klp's frame";
		return 0;
	}
	memset(buf, 0, len);
	rc = klp_frame_build(st->tid, restart, st->mask, 0, frame[0], buf, len);
	if (!rc)
		rc = klp_process_write(r->p, frame[0], buf, len, e);
	memset(buf, 0, len);
	if (!rc)
		rc = klp_frame_build(st->tid, eintr, st->mask, 0, frame[1], buf, len);
	if (!rc)
		rc = klp_process_write(r->p, frame[1], buf, len, e);
	if (!rc)
		rc = klp_process_write(r->p, record, &b, sizeof(b), e);
	if (rc)
		return rc;
	if (visit && !k->visit->fit(k->visit->ctx, st, ns_tid,
				    call->cls == KLP_CALL_TIMED_REG ? frame[0] + klp_frame_argument(call->timeout_arg)
								    : call->timeout,
				    call->timeout_unit))
		return 0;
	klp_registers_enter(&regs, r->image + (visit ? r->hdr.callback : r->hdr.borrow), record,
			    visit ? (klp_registers_sp(&st->regs) - KLP_RED_ZONE) & ~15ull : 0);
	k->chain = (struct klp_stop_chain){{{r->image, r->image + KLP_RT_TEXT_SIZE}},
					   {0, UINT64_MAX},
					   visit ? k->visit->works : NULL,
					   visit ? k->visit->ctx : NULL};
	return klp_borrow_redirect(st, &regs);
}

/* One thread that looked fit. */
struct klp_candidate {
	struct klp_picker *k;
	pid_t tid;
	const struct klp_task_info *info;
	const struct klp_call *call; /* NULL: it runs */
	uint64_t since_ns;           /* when its wait began, 0: does not matter */
	struct klp_borrowed *who;
	struct klp_error *e;
};

/* On a tracing thread: stops this thread and borrows it if the stop still finds it fit. 1: borrowed; 0: not this one.
 */
static int klp_borrow_thread(void *arg)
{
	const struct klp_candidate *c = arg;
	struct klp_picker *k = c->k;
	const struct klp_task_info *info = c->info;
	const struct klp_call *call = c->call;
	struct klp_error *e = c->e;
	pid_t tid = c->tid;
	struct klp_registers restart, eintr;
	struct klp_call now = {.cls = KLP_CALL_NEVER};
	struct klp_stop st;
	struct klp_task_info again;
	struct klp_task_syscall s = {0};
	uint64_t late, sp, pc, tp;
	const char *before = k->what;
	int rc = klp_stop_begin(k->r, tid, &st, e);

	if (rc <= 0)
		return rc;
	if (klp_registers_call(&st.regs, s.arg) < 0 && !klp_task_info(k->r->p, tid, &again, e) &&
	    (again.sig_pending & ~st.mask)) {
		rc = klp_stop_take_signal(&st);
		if (rc <= 0)
			return rc;
	}
	rc = 0;
	k->what = NULL;
	late = c->since_ns ? (klp_clock_now() - c->since_ns) / 1000000 : 0;
	s.nr = klp_registers_call(&st.regs, s.arg);
	s.sp = sp = klp_registers_sp(&st.regs);
	if (s.nr >= 0)
		now = klp_call_classify(k->r->p, tid, &s);
	pc = klp_registers_pc(&st.regs);
	tp = klp_registers_thread_pointer(&st.regs);
	if (st.in_call && (now.cls == KLP_CALL_NEVER ||
			   (now.cls == KLP_CALL_TIMED_REG && (!call || call->cls != KLP_CALL_TIMED_REG)))) {
		k->why = KLP_NO_BORROW;
		k->what = "it is in a call that cannot be issued again without harm";
	} else if (k->r->image && pc >= k->r->image && pc < k->r->image + KLP_RT_TEXT_SIZE) {
		k->why = KLP_NO_BORROW;
		k->what = "it is inside klp's own code";
	} else if (k->visit && info->seccomp && (now.cls == KLP_CALL_TIMED_REG || now.cls == KLP_CALL_TIMED_MEM)) {
		k->why = KLP_NO_BORROW;
		k->what = "its timeout cannot be kept: it may not ask for the time (seccomp)";
	} else if (k->visit && !st.in_call) {
		k->why = KLP_NO_BORROW;
		k->what = "it does not wait in a system call";
	} else if (k->visit && !klp_borrow_room(k->r->p, sp, tp, k->visit->room)) {
		k->why = KLP_NO_ROOM;
		k->what = "there is too little room on its stack";
	} else if (!st.in_call && klp_frame_in_rseq(tid, k->r->p)) {
		k->why = KLP_NO_BORROW;
		k->what = "it is inside a restartable sequence";
	} else if (klp_task_info(k->r->p, tid, &again, e) || ((again.sig_pending | again.shd_pending) & ~st.mask)) {
		k->why = KLP_NO_BORROW;
		k->what = "a signal is pending for it";
	} else if (info->seccomp && klp_seccomp_check(tid, KLP_SECCOMP_ALL, e)) {
		klp_stop_end(&st);
		return -e->err;
	} else {
		klp_home_registers(&st, &now, late, &restart, &eintr);
		rc = k->gadget ? klp_borrow_by_gadget(k, &st, &restart, e)
			       : klp_borrow_by_image(k, &st, info->ns_tid, &now, &restart, &eintr, e);
		c->who->tid = tid;
		c->who->thread_pointer = tp;
	}
	if (rc == 1) {
		/* The same call with what is left of its timeout. */
		if (st.in_call)
			klp_registers_in_call(&restart, &st.regs);
		klp_stop_end_at_home(&st, &restart, &k->chain);
	} else {
		klp_stop_end(&st);
	}
	if (rc == 0 && k->visit && k->what)
		k->visit->says(k->visit->ctx, tid, k->what);
	if (!k->what)
		k->what = before;
	return rc;
}

static struct klp_watched *klp_watched(struct klp_picker *k, pid_t tid)
{
	struct klp_watched *grown;

	for (size_t i = 0; i < k->watched_count; i++)
		if (k->watched[i].tid == tid)
			return &k->watched[i];
	grown = realloc(k->watched, (k->watched_count + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	k->watched = grown;
	grown[k->watched_count] = (struct klp_watched){.tid = tid};
	return &grown[k->watched_count++];
}

/*
 * Looks at a thread in a call with a relative timeout. Not 0 if its waiting has just begun: it was seen a moment ago,
 * and has been switched out since.
 */
static uint64_t klp_watch(struct klp_picker *k, pid_t tid, uint64_t switches, uint64_t now)
{
	struct klp_watched *w = klp_watched(k, tid), before;

	if (!w)
		return 0;
	before = *w;
	*w = (struct klp_watched){.tid = tid, .switches = switches, .seen_ns = now};
	if (!before.seen_ns || before.switches == switches)
		return 0;
	if (now - before.seen_ns < KLP_WATCH_GAP_NS)
		return now;
	k->missed++;
	return 0;
}

/*
 * Before the next pass. Where timers are late (a virtual machine that idles), each pause is longer than the gap in
 * which the beginning of a call must be seen: then some of it is spent awake.
 */
static void klp_pick_pause(struct klp_picker *k, uint64_t ns)
{
	const struct timespec t = {0, (long)ns};
	uint64_t now = klp_clock_now();

	if (!k->awake_since && k->missed >= KLP_MISSED_WAITS)
		k->awake_since = now;
	if (!k->awake_since || now - k->awake_since >= KLP_AWAKE_NS)
		nanosleep(&t, NULL);
	if (k->awake_since && now - k->awake_since >= 2 * KLP_AWAKE_NS)
		k->awake_since = k->missed = 0;
}

/*
 * A thread that answered "running". true when it has done so often enough that a stop is most unlikely to find it in a
 * call (hazard A5): a call whose relative timeout began anew would be late.
 */
static bool klp_watch_running(struct klp_picker *k, pid_t tid, uint64_t switches, uint64_t now)
{
	struct klp_watched *w = klp_watched(k, tid);

	if (!w)
		return false;
	w->switches = switches;
	w->seen_ns = now;
	if (!w->running++)
		w->running_since = now;
	return w->running >= KLP_RUNNING_SAMPLES && now - w->running_since >= KLP_RUNNING_SPAN_NS;
}

/* A thread that has not run since it was refused is as it was. timed: its moment is now, or with its next wait. */
static bool klp_visit_look_once(struct klp_picker *k, pid_t tid, uint64_t switches, bool timed)
{
	struct klp_watched *w = timed ? NULL : klp_watched(k, tid);
	bool fit;

	if (w && w->refused == switches + 1)
		return false;
	fit = k->visit->look(k->visit->ctx, tid);
	if (w)
		w->refused = fit ? 0 : switches + 1;
	return fit;
}

static int klp_pick_pass(struct klp_picker *k, unsigned pass, struct klp_borrowed *who, struct klp_error *e)
{
	struct klp_process *p = k->r->p;
	pid_t *tid = NULL;
	size_t n = 0;
	int rc = klp_process_tids(p, &tid, &n, e);
	bool alone = n == 1 || (n == 2 && k->r->helper);

	for (size_t i = 0; i < n && rc == 0; i++) {
		struct klp_error ignored = KLP_ERROR_INIT;
		struct klp_task_syscall s;
		struct klp_task_info info;
		struct klp_call call = {.cls = KLP_CALL_NEVER};
		uint64_t since = 0;
		bool fit;

		if (klp_task_info(p, tid[i], &info, &ignored) || klp_task_syscall(p, tid[i], &s, &ignored) ||
		    klp_task_is_kernel_made(&info) || info.shadow_stack || info.tracer ||
		    (info.state != 'S' && info.state != 'R') || tid[i] == k->r->helper ||
		    (k->visitor && (uint32_t)info.ns_tid == k->visitor))
			continue;
		if ((info.sig_pending | info.shd_pending) & ~info.sig_blocked)
			continue;
		if (s.running && k->visit) {
			continue;
		} else if (s.running) {
			fit = klp_watch_running(k, tid[i], info.switches_voluntary + info.switches_involuntary,
						klp_clock_now());
		} else {
			if (s.nr < 0)
				continue;
			for (size_t w = 0; w < k->watched_count; w++)
				if (k->watched[w].tid == tid[i])
					k->watched[w].running = 0;
			call = klp_call_classify(p, tid[i], &s);
			fit = (call.cls == KLP_CALL_EXACT &&
			       (pass >= KLP_ADDRESSED_AFTER || alone || klp_guard_signals_come_to(p, tid[i]) <= 0)) ||
			      (call.cls == KLP_CALL_TIMED_MEM && pass >= KLP_ADDRESSED_AFTER);
			if (call.cls == KLP_CALL_TIMED_REG && pass >= KLP_TIMED_AFTER) {
				since = klp_watch(k, tid[i], info.switches_voluntary + info.switches_involuntary,
						  klp_clock_now());
				fit = since != 0;
			}
		}
		if (fit && k->visit)
			fit = klp_visit_look_once(k, tid[i], info.switches_voluntary + info.switches_involuntary,
						  since != 0);
		if (fit) {
			struct klp_candidate c = {k, tid[i], &info, s.running ? NULL : &call, since, who, e};

			rc = klp_guard_run(p, tid[i], klp_borrow_thread, &c, e);
		}
	}
	free(tid);
	return rc;
}

static int klp_pick(struct klp_picker *k, unsigned wait_ms, struct klp_borrowed *who, struct klp_error *e)
{
	uint64_t deadline = klp_clock_now() + (uint64_t)wait_ms * 1000000ull, pause = KLP_PICK_PAUSE_NS;
	int rc = 0;

	klp_frame_prepare();
	if (k->r->cb) {
		struct klp_rt_callback c;

		rc = klp_process_read(k->r->p, k->r->cb + offsetof(struct klp_rt_cb, callback), &c, sizeof(c), e);
		if (rc)
			return rc;
		k->visitor = c.state == KLP_RT_CALLBACK_NONE ? 0 : c.tid;
	}
	k->frame = calloc(1, KLP_FRAME_ROOM);
	if (!k->frame)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for a signal frame");
	k->why = KLP_NO_BORROW;
	k->what = "all threads are in calls that cannot be issued again without harm";
	for (unsigned pass = 0; rc == 0; pass++) {
		unsigned stopped = k->r->threads_stopped;

		rc = klp_pick_pass(k, pass, who, e);
		if (rc == 0 && klp_clock_now() > deadline)
			rc =
			    klp_fail(e, EAGAIN, KLP_NO_BORROW, "no thread of process %d could be borrowed in %u ms: %s",
				     k->r->p->pid, wait_ms, k->what);
		if (rc == 0) {
			/* Only a stop shows what hinders some (their stack): they are not asked all the time. */
			if (pause < (k->r->threads_stopped != stopped ? KLP_PICK_PAUSE_MAX_NS
				     : k->visit                       ? KLP_PICK_VISIT_PAUSE_MAX_NS
								      : 0))
				pause *= 2;
			klp_pick_pause(k, pause);
		}
	}
	free(k->watched);
	free(k->frame);
	return rc < 0 ? rc : 0;
}

int klp_borrow_calls(struct klp_remote *r, const struct klp_borrow_call *call, size_t count, unsigned wait_ms,
		     struct klp_borrowed *who, struct klp_error *e)
{
	struct klp_picker k = {.r = r, .call = call, .call_count = count};
	int rc = klp_frame_gadgets(r->p, &k.gadget, &k.restorer, e);

	return rc ? rc : klp_pick(&k, wait_ms, who, e);
}

int klp_borrow_visit(struct klp_remote *r, const struct klp_borrow_visit *v, unsigned wait_ms, struct klp_borrowed *who,
		     struct klp_error *e)
{
	struct klp_picker k = {.r = r, .visit = v};

	return klp_pick(&k, wait_ms, who, e);
}

int klp_borrow_helper(struct klp_remote *r, unsigned wait_ms, struct klp_borrowed *who, struct klp_error *e)
{
	struct klp_picker k = {.r = r};

	return klp_pick(&k, wait_ms, who, e);
}
