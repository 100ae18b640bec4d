/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dispatch: a thread of the target has entered a patched function whose slot leads to its stub. Which body does the
 * call take?
 *
 * Runs on any thread, in any signal handler, with at most 512 bytes of stack together with the trampoline, without
 * libc, TLS or vector registers. Everything it shares with the engine and the helper is in the control block; rt.h says
 * who writes what.
 */
#include "klp/runtime/rt.h"
#include "cpu.h"
#include "syscall.h"
#include "thread.h"

#pragma GCC poison malloc calloc realloc free printf fprintf memcpy memset errno

#define DISPATCH_RETRIES 64 /* transitions that end under one call, before the original body is taken */
#define TID_UNKNOWN INT32_MIN

/* What trampoline.S, image.S and the build rely on. */
_Static_assert(__builtin_offsetof(struct klp_rt_site, ops) == 8, "SITE_OPS");
_Static_assert(__builtin_offsetof(struct klp_rt_site, body) == 64, "SITE_BODY");
_Static_assert(__builtin_offsetof(struct klp_rt_site, original) == 120, "SITE_ORIGINAL");
_Static_assert(__builtin_offsetof(struct klp_rt_image, build) == 16 && sizeof(struct klp_rt_image) == 88, "image.S");
_Static_assert(KLP_RT_TEXT_SIZE == 16384, "RT_TEXT_LIMIT");
_Static_assert(sizeof(KLP_RT_MAGIC) == 16, "magic");

void klp_rt_livepatch(struct klp_rt_site *site, struct klp_rt_regs *regs);

struct self {
	struct klp_rt_cb *cb;
	uint64_t tp; /* thread pointer, 0 if it is not known */
	uint32_t tid;
	uint32_t initial; /* state of an entry that has to be made */
};

static void identify(struct self *s)
{
	int32_t offset = s->cb->tid_offset;

	if (offset == TID_UNKNOWN) {
		s->tp = klp_ask_thread_pointer();
		s->tid = (uint32_t)klp_syscall0(KLP_NR_gettid);
		return;
	}
	s->tp = klp_thread_pointer();
	s->tid = *(const volatile uint32_t *)(s->tp + (uint64_t)(int64_t)offset);
}

static struct klp_rt_thread *find(const struct self *s)
{
	uint32_t i = KLP_THREAD_HASH(s->tid), n;

	for (n = 0; n < KLP_MAX_THREADS; n++, i = (i + 1) & (KLP_MAX_THREADS - 1)) {
		struct klp_rt_thread *e = &s->cb->threads[i];
		uint32_t tid = __atomic_load_n(&e->tid, __ATOMIC_ACQUIRE);

		if (tid == s->tid)
			return e;
		if (!tid)
			break;
	}
	return 0;
}

/*
 * Makes an entry in the first free place (rt.h), tid and state by one store: a signal handler of this thread, or the
 * thread of an entry that the helper inserts, must never find the one without the other. The helper inserts along the
 * same probe sequence.
 */
static struct klp_rt_thread *claim(const struct self *s)
{
	uint32_t i = KLP_THREAD_HASH(s->tid), n;

	for (n = 0; n < KLP_MAX_THREADS; n++, i = (i + 1) & (KLP_MAX_THREADS - 1)) {
		struct klp_rt_thread *e = &s->cb->threads[i];
		uint64_t found = __atomic_load_n((uint64_t *)e, __ATOMIC_ACQUIRE);

		if ((!found || (uint32_t)found == KLP_TID_FREED) &&
		    __atomic_compare_exchange_n((uint64_t *)e, &found, KLP_THREAD_CLAIM(s->tid, s->initial), 0,
						__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			__atomic_fetch_add(&s->cb->places, 1, __ATOMIC_RELAXED);
			return e;
		}
		if ((uint32_t)found == s->tid)
			return e;
	}
	__atomic_store_n(&s->cb->overflow, 1, __ATOMIC_RELEASE);
	return 0;
}

/*
 * Does a transition that is in progress concern this site? The engine publishes the transition word before any slot
 * leads to a stub, and takes it away only after every slot leads elsewhere (each with a membarrier between). So a
 * thread that was on its way here sees the final slot, or the word again; and where the slot leads elsewhere while
 * there is a word, that is of another transition, which began meanwhile and is about other functions, or has not come
 * to this one yet, or is through with it.
 */
static inline int goes_directly(const struct klp_rt_site *site, struct klp_rt_regs *regs)
{
	uint64_t slot = __atomic_load_n(&site->slot, __ATOMIC_ACQUIRE);

	if (slot == site->stub)
		return 0;
	regs->pc = slot;
	return 1;
}

/*
 * The body for this call, which was decided under the word tr; 0 if that cannot be said: pc[] holds what it held for an
 * earlier transition where tr is not about this site, and is written again when tr is over. While the word is the same
 * before (decide) and behind them, the stub and pc[] are of tr: the engine writes pc[] before it publishes the next.
 */
static uint64_t body_under(const struct klp_rt_site *site, const struct klp_rt_cb *cb, uint64_t tr, uint32_t universe)
{
	uint64_t pc = __atomic_load_n(&site->pc[(KLP_TR_ID(tr) & 1) * 2 + universe], __ATOMIC_ACQUIRE), now;

	if (__atomic_load_n(&site->slot, __ATOMIC_ACQUIRE) != site->stub)
		return 0;
	now = __atomic_load_n(&cb->transition, __ATOMIC_ACQUIRE);
	if (!KLP_TR_ACTIVE(now) || KLP_TR_ID(now) != KLP_TR_ID(tr))
		return 0;
	return pc ? pc : site->original;
}

/* Is the verdict in force for a dispatch whose thread was clean when its count was any of first ... last? */
static inline int is_given(const struct klp_rt_thread *e, uint64_t tr, uint64_t first, uint64_t last)
{
	uint64_t verdict = __atomic_load_n(&e->verdict, __ATOMIC_ACQUIRE);
	uint64_t n = KLP_VERDICT_COUNT(verdict);

	return verdict && KLP_VERDICT_GENERATION(verdict) == KLP_TR_GENERATION(tr) && n >= first && n <= last;
}

/*
 * At the door: nothing of the call is on the stack yet but its return address, and the registers lie in the
 * trampoline's frame. If the engine has invited this thread, and nobody sits there in this round, it says where they
 * lie and waits for the verdict, for a limited number of loops: an engine that is dead costs one thread one wait. The
 * engine reads the stack meanwhile. A verdict that comes late names a count that never matches again.
 */
static __attribute__((noinline)) int at_door(struct klp_rt_door *d, uint32_t index, const struct klp_rt_thread *e,
					     const struct klp_rt_regs *regs, uint64_t tr, uint64_t count)
{
	const struct klp_rt_invitation *in = &d->invited[KLP_DOOR_OF(index)];
	uint64_t seat = __atomic_load_n(&d->seat, __ATOMIC_RELAXED);
	uint8_t round = __atomic_load_n(&d->round, __ATOMIC_ACQUIRE);
	uint32_t loops = __atomic_load_n(&d->patience, __ATOMIC_RELAXED);

	if (!round || (uint8_t)seat == round || __atomic_load_n(&in->entry, __ATOMIC_RELAXED) != (uint64_t)e ||
	    __atomic_load_n(&d->generation, __ATOMIC_RELAXED) != KLP_TR_GENERATION(tr) ||
	    (uint64_t)regs <= __atomic_load_n(&in->above, __ATOMIC_RELAXED))
		return 0;
	/* Release: the registers are there for whoever sees this; its partner is the order of the engine's reads. */
	if (!__atomic_compare_exchange_n(&d->seat, &seat, KLP_DOOR_SEAT((uint64_t)regs, round), 0, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		return 0;
	for (loops = loops < KLP_DOOR_PATIENCE_MAX ? loops : KLP_DOOR_PATIENCE_MAX; loops; loops--) {
		if (is_given(e, tr, count, count))
			return 1;
		if (__atomic_load_n(&d->round, __ATOMIC_RELAXED) != round)
			break; /* it says no */
		klp_relax();
	}
	return is_given(e, tr, count, count);
}

/*
 * The thread moves. Not if its state is of another transition by now: the engine has taken this thread for moved, ended
 * the transition and entered the thread for the next one (insert() in helper.c), while it slept in here. An older state
 * would look like that of a tid which is used again (enter_own), and the thread would begin the next transition moved.
 */
static inline void move(struct klp_rt_thread *e, uint32_t there)
{
	uint32_t state = there ^ 1;

	__atomic_compare_exchange_n(&e->state, &state, there, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/*
 * The thread's universe for this call; and the one place where a thread moves from one to the other (invariant T1).
 *
 * The verdict says "when your entry count was n, no function being left was on your stack". The count is incremented
 * BEFORE the verdict is loaded (one locked instruction, a full barrier; its partner is the engine's membarrier between
 * the store of the verdict and its last look at the count): either the engine sees the new count, or this thread sees
 * the verdict.
 *
 * Once the engine has seen the old count behind its barrier it takes this thread for moved, whatever enters first: this
 * dispatch, or that of a signal handler which interrupts it between its increment and its look at the verdict. `base`
 * lets the handler's dispatch apply the verdict for it: it is the count behind the increment of the first dispatch
 * since which nothing but dispatch has run, so what was true of the stack at base - 1 is true now, and so is what was
 * true at any count since. Whoever leaves dispatch takes it away, for a function is entered then. It says nothing of
 * whether that first dispatch still stands below or was left by a longjmp, which nobody could tell: the handler's stack
 * may be another one, above or below.
 *
 * This dispatch keeps what it found: a handler that takes it away meanwhile has returned, so nothing of it is on the
 * stack, and it need not have applied the verdict: it does not if the transition has ended (model: FIRST_LATE).
 *
 * Returns the transition word under which this was decided; not active: it is over.
 */
static uint64_t decide(const struct self *s, struct klp_rt_thread *e, const struct klp_rt_regs *regs,
		       uint32_t *universe)
{
	/* The mark of an outer dispatch, or of one that a longjmp left. */
	uint64_t prev = __atomic_load_n(&e->in_sp, __ATOMIC_RELAXED), tr, count, base;
	uint32_t state;

	__atomic_store_n(&e->in_sp, (uint64_t)regs, __ATOMIC_RELAXED);
	base = __atomic_load_n(&e->base, __ATOMIC_RELAXED);
	if (!base) {
		base = __atomic_load_n(&e->count, __ATOMIC_RELAXED) + 1;
		__atomic_store_n(&e->base, base, __ATOMIC_RELAXED);
	}
	/* Handlers of this thread see base before the new count: compilers and cores keep a thread's own order. */
	count = __atomic_fetch_add(&e->count, 1, __ATOMIC_SEQ_CST);

	/* Again, now that the engine can see us: a late thread must not act on a transition that is over or has been
	 * reversed. */
	tr = __atomic_load_n(&s->cb->transition, __ATOMIC_ACQUIRE);
	if (KLP_TR_ACTIVE(tr)) {
		uint32_t id = KLP_TR_ID(tr) << 1, there = id | KLP_TR_TARGET(tr);
		struct klp_rt_door *door = &s->cb->door;

		if (is_given(e, tr, base - 1, count)) {
			move(e, there);
		} else if (__atomic_load_n(&door->round, __ATOMIC_RELAXED) &&
			   __atomic_load_n(&e->state, __ATOMIC_RELAXED) != there &&
			   at_door(door, (uint32_t)(e - s->cb->threads), e, regs, tr, count)) {
			move(e, there);
			prev = 0; /* no other dispatch stands on this stack: a longjmp left the one of that mark */
		}
		__atomic_store_n(&e->base, 0, __ATOMIC_RELAXED);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		/* Again: a handler may have moved the thread before base was taken away. */
		state = __atomic_load_n(&e->state, __ATOMIC_ACQUIRE);
		*universe = (state & ~1u) == id ? state & 1 : 0;
		/* Every thread has been proven; a fork in the middle of the slots' last stores leaves a child that must
		 * not fall back. */
		if (KLP_TR_COMPLETING(tr))
			*universe = KLP_TR_TARGET(tr);
	} else {
		__atomic_store_n(&e->base, 0, __ATOMIC_RELAXED);
	}
	/*
	 * Release: what was decided above is visible before the thread is seen outside. If the table was cleared and
	 * the place given to another thread while this one slept between its search and its mark (the engine must not
	 * do that: it cannot see such a thread), the other one's mark stays.
	 */
	if (__atomic_load_n(&e->tid, __ATOMIC_RELAXED) == s->tid)
		__atomic_store_n(&e->in_sp, prev, __ATOMIC_RELEASE);
	return tr;
}

static inline int is_of(const struct klp_rt_thread *e, uint64_t tr)
{
	return (__atomic_load_n(&e->state, __ATOMIC_RELAXED) & ~1u) == KLP_TR_ID(tr) << 1;
}

/*
 * The entry of the thread with this thread pointer: the last one that was bound to it, for stacks are used again. If
 * that is of an earlier transition, the thread has not called in this one: nobody, even if it is under the child's tid.
 */
static struct klp_rt_thread *find_bound(const struct self *s, uint64_t tr)
{
	struct klp_rt_thread *best = 0;
	uint32_t i;

	for (i = 0; s->tp && i < KLP_MAX_THREADS; i++) {
		struct klp_rt_thread *t = &s->cb->threads[i];

		if (!__atomic_load_n(&t->tid, __ATOMIC_ACQUIRE) || __atomic_load_n(&t->tp, __ATOMIC_ACQUIRE) != s->tp)
			continue;
		if (!best || t->bound > best->bound)
			best = t;
	}
	return best && is_of(best, tr) ? best : 0;
}

/*
 * From whom a fork's or vfork's child inherits: 0 nobody. e is what the table has under its tid: its own, which
 * remembers the answer, or that of another child, whose answer was another one. That there was nobody is asked again.
 */
static struct klp_rt_thread *find_parent(const struct self *s, const struct klp_rt_thread *e, uint64_t tr)
{
	struct klp_rt_thread *p;

	if (!e || e->tp != KLP_TP_FOREIGN || e->parent >= KLP_MAX_THREADS || !is_of(e, tr))
		return find_bound(s, tr);
	p = &s->cb->threads[e->parent];
	return p->tp == s->tp && p->bound == e->bound ? p : find_bound(s, tr);
}

/* Has this very thread dispatched in this transition? Else the kernel is asked who it is (enter). */
static inline int is_known(const struct self *s, const struct klp_rt_thread *e, uint64_t tr)
{
	return __atomic_load_n(&e->tp, __ATOMIC_RELAXED) == s->tp && is_of(e, tr);
}

/*
 * `bound` first: whoever finds tp (find_bound, in a signal handler or in a fork's copy) finds it too. What else carries
 * this thread pointer is of threads that are no more, and loses it before: a fork's child that has the tid of one of
 * them would take its entry for its own (is_known).
 */
static void bind(const struct self *s, struct klp_rt_thread *e)
{
	uint32_t *place = &s->cb->bound_last[KLP_BOUND_HASH(s->tp)], last, i;

	if (__atomic_load_n(&e->tp, __ATOMIC_RELAXED) == s->tp)
		return;
	__atomic_store_n(&e->bound, __atomic_add_fetch(&s->cb->bindings, 1, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
	last = __atomic_load_n(place, __ATOMIC_RELAXED);
	if (last && last <= KLP_MAX_THREADS && __atomic_load_n(&s->cb->threads[last - 1].tp, __ATOMIC_RELAXED) == s->tp)
		__atomic_store_n(&s->cb->threads[last - 1].tp, 0, __ATOMIC_RELEASE);
	else if (last) /* another one came in between: it is anywhere, or nowhere */
		for (i = 0; i < KLP_MAX_THREADS; i++)
			if (__atomic_load_n(&s->cb->threads[i].tp, __ATOMIC_RELAXED) == s->tp)
				__atomic_store_n(&s->cb->threads[i].tp, 0, __ATOMIC_RELEASE);
	/* Before tp: of what is bound the place knows, or has been taken by another. */
	__atomic_store_n(place, (uint32_t)(e - s->cb->threads) + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&e->tp, s->tp, __ATOMIC_RELEASE);
}

/* A thread of this process, e being what the table has under its tid: its own, or that of a thread that is no more. */
static struct klp_rt_thread *enter_own(struct self *s, struct klp_rt_thread *e, uint64_t tr)
{
	uint32_t state;

	/*
	 * A new thread is clean: in a sealed transition it begins in the target universe, as the engine expects of
	 * those that it has not listed. If a reversal makes that the wrong one in this moment, the engine finds an
	 * entry that has not arrived, and proves it.
	 */
	s->initial = (KLP_TR_ID(tr) << 1) | (KLP_TR_SEALED(tr) ? KLP_TR_TARGET(tr) : 0);
	if (!e)
		e = claim(s);
	if (!e)
		return 0;
	/* Sealed and yet of an earlier transition: the tid is used again (insert() in helper.c). */
	state = __atomic_load_n(&e->state, __ATOMIC_ACQUIRE);
	if ((state & ~1u) != KLP_TR_ID(tr) << 1)
		__atomic_compare_exchange_n(&e->state, &state, s->initial, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
	bind(s, e);
	return e;
}

/*
 * The child of a fork or vfork: its tid is new while the stack that it woke up on is the caller's (hazard A9). It
 * inherits the state of the thread with its thread pointer: the copy of its caller, or after a vfork the caller itself.
 * What the table has under its own tid is of a task that had the number before.
 */
static struct klp_rt_thread *enter_child(struct self *s, struct klp_rt_thread *e, uint64_t tr,
					 const struct klp_rt_regs *regs, uint32_t pid)
{
	struct klp_rt_thread *parent;
	uint32_t universe = 0;

	s->initial = KLP_TR_ID(tr) << 1;
	parent = find_parent(s, e, tr);
	if (parent) {
		/*
		 * As the parent's own dispatch: a vfork child runs on its stack and in its memory, so a verdict on the
		 * parent that is valid now is applied, and one that is still to come finds another count. A thread that
		 * waits for its vfork child is not proven, so there is no third.
		 */
		struct self as = {s->cb, s->tp, __atomic_load_n(&parent->tid, __ATOMIC_RELAXED), 0};

		tr = decide(&as, parent, regs, &universe);
		if (KLP_TR_ACTIVE(tr))
			s->initial = (KLP_TR_ID(tr) << 1) | universe;
	}
	if (!e)
		e = claim(s);
	if (!e)
		return 0;
	if (e != parent) { /* else a handler has been here in between, and has bound it */
		/* A verdict on the task that had this tid before is not one on this. */
		__atomic_fetch_add(&e->count, 1, __ATOMIC_SEQ_CST);
		__atomic_store_n(&e->state, s->initial, __ATOMIC_RELEASE);
	}
	/*
	 * From now on this process counts its own threads, if this is the one that is the copy of another: a thread
	 * that it made meanwhile may come first. Where the tid is not in the control block, a child of vfork, which
	 * shares this memory with its parent, cannot be told from one of fork: the word stays, and the entry is never
	 * taken for the parent's, for the next child would inherit what was true for this one.
	 */
	if (s->cb->tid_offset != TID_UNKNOWN) {
		if (s->tid == pid)
			__atomic_store_n(&s->cb->pid, pid, __ATOMIC_RELAXED);
		bind(s, e);
	} else if (e != parent) {
		/* tp last: a handler's find_parent believes the others only with it. */
		__atomic_store_n(&e->tp, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&e->bound, parent ? parent->bound : 0, __ATOMIC_RELAXED);
		__atomic_store_n(&e->parent, parent ? (uint64_t)(parent - s->cb->threads) : KLP_MAX_THREADS,
				 __ATOMIC_RELAXED);
		__atomic_store_n(&e->tp, KLP_TP_FOREIGN, __ATOMIC_RELEASE);
	}
	return e;
}

/* Who is it? Once per thread and transition; a child of the two kinds that cannot be told apart asks each time. */
static __attribute__((noinline)) struct klp_rt_thread *enter(struct self *s, struct klp_rt_thread *e, uint64_t tr,
							     const struct klp_rt_regs *regs)
{
	uint32_t pid;

	/* No system call on the program's threads: any of them may have got a filter meanwhile that kills for it
	 * (hazard A4). A vfork child reads its parent's block and its parent's tid, and dispatches as its parent. */
	if (s->cb->tid_offset != TID_UNKNOWN && __atomic_load_n(KLP_OWN_WORD(s->cb), __ATOMIC_RELAXED) == KLP_OWN)
		return enter_own(s, e, tr);
	pid = (uint32_t)klp_syscall0(KLP_NR_getpid);
	/* A vfork child's control block still holds the parent's tid: it dispatches as its parent, which may be the
	 * child of a fork itself and not have dispatched. */
	if (s->cb->tid_offset != TID_UNKNOWN && s->tid != (uint32_t)klp_syscall0(KLP_NR_gettid))
		pid = (uint32_t)klp_syscall0(KLP_NR_getppid);
	if (pid == __atomic_load_n(&s->cb->pid, __ATOMIC_RELAXED))
		return enter_own(s, e, tr);
	return enter_child(s, e, tr, regs, pid);
}

void klp_rt_livepatch(struct klp_rt_site *site, struct klp_rt_regs *regs)
{
	struct self s = {.cb = (struct klp_rt_cb *)site->cb};
	unsigned n;

	for (n = 0; n < DISPATCH_RETRIES; n++) {
		struct klp_rt_thread *e;
		uint32_t universe = 0, tid;
		uint64_t tr, pc;

		if (goes_directly(site, regs))
			return;
		tr = __atomic_load_n(&s.cb->transition, __ATOMIC_ACQUIRE);
		if (!KLP_TR_ACTIVE(tr))
			continue;
		identify(&s);
		tid = s.tid;
		e = find(&s);
		if (!e || !is_known(&s, e, tr))
			e = enter(&s, e, tr, regs);
		if (e) /* else no place is left, and it is in universe 0 */
			tr = decide(&s, e, regs, &universe);
		if (!KLP_TR_ACTIVE(tr))
			continue;
		/* A signal handler that forked in here: this is the child now, and its entry another one. */
		identify(&s);
		if (e && s.tid != tid)
			continue;
		pc = body_under(site, s.cb, tr, universe);
		if (pc) {
			regs->pc = pc;
			return;
		}
	}
	regs->pc = site->original;
}
