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
#include "syscall.h"

#include <stdbool.h>

#pragma GCC poison malloc calloc realloc free printf fprintf memcpy memset errno

#define DISPATCH_RETRIES 8 /* reads of {transition, slot} before the original body is taken */
#define TID_UNKNOWN INT32_MIN
#define ARCH_GET_FS 0x1003

/* What trampoline.S, image.S and the build rely on. */
_Static_assert(__builtin_offsetof(struct klp_rt_site, ops) == 8, "SITE_OPS");
_Static_assert(__builtin_offsetof(struct klp_rt_site, body) == 64, "SITE_BODY");
_Static_assert(sizeof(struct klp_rt_regs) == 96, "FRAME_CFA");
_Static_assert(__builtin_offsetof(struct klp_rt_image, build) == 16 && sizeof(struct klp_rt_image) == 56, "image.S");
_Static_assert(KLP_RT_TEXT_SIZE == 16384, "RT_TEXT_LIMIT");
_Static_assert(sizeof(KLP_RT_MAGIC) == 16, "magic");

void klp_rt_livepatch(struct klp_rt_site *site, struct klp_rt_regs *regs);

struct self {
	struct klp_rt_cb *cb;
	uint64_t tp; /* thread pointer, 0 while it is not known */
	uint32_t tid;
	uint32_t inherited; /* a fork's child: the state of the thread that it is a copy of */
	bool born;          /* it made its entry in this dispatch and is no copy: a new thread, clean */
};

/* Word 0 of the thread control block is its own address (psABI); the engine allows this only after checking it. */
static inline uint64_t tcb_self(void)
{
	uint64_t tp;

	__asm__ volatile("movq %%fs:0, %0" : "=r"(tp));
	return tp;
}

static uint64_t thread_pointer(const struct self *s)
{
	uint64_t tp = 0;

	if (s->tp)
		return s->tp;
	/* Not by rdfsbase: a kernel may forbid it. */
	if (klp_syscall2(KLP_NR_arch_prctl, ARCH_GET_FS, (uint64_t)&tp))
		return 0;
	return tp;
}

static void identify(struct self *s)
{
	int32_t offset = s->cb->tid_offset;

	if (offset == TID_UNKNOWN) {
		s->tp = 0;
		s->tid = (uint32_t)klp_syscall0(KLP_NR_gettid);
		return;
	}
	s->tp = tcb_self();
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
 * Makes an entry in the first free place. The helper inserts along the same probe sequence and nothing is removed while
 * a transition runs, so that both find the same place and one tid never has two entries.
 */
static struct klp_rt_thread *claim(struct self *s)
{
	uint32_t i = KLP_THREAD_HASH(s->tid), n;

	for (n = 0; n < KLP_MAX_THREADS; n++, i = (i + 1) & (KLP_MAX_THREADS - 1)) {
		struct klp_rt_thread *e = &s->cb->threads[i];
		uint32_t tid = 0;

		if (__atomic_compare_exchange_n(&e->tid, &tid, s->tid, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			if (s->born) /* its universe is told by decide(), when the engine can see that it is inside */
				return e;
			__atomic_store_n(&e->state, s->inherited, __ATOMIC_RELEASE);
			return e;
		}
		s->born = s->born && tid != s->tid;
		if (tid == s->tid)
			return e;
	}
	__atomic_store_n(&s->cb->overflow, 1, __ATOMIC_RELEASE);
	return 0;
}

/*
 * This thread has no entry: it is new, or it is the child of a fork, whose tid is new while the stack that it woke up
 * on is the caller's (hazard A9). A child inherits the state of the thread with its thread pointer: the copy of its
 * caller.
 */
static __attribute__((noinline)) struct klp_rt_thread *enter(struct self *s, uint64_t tr)
{
	struct klp_rt_cb *cb = s->cb;
	uint32_t pid = (uint32_t)klp_syscall0(KLP_NR_getpid);
	struct klp_rt_thread *e;
	uint64_t tp;
	uint32_t i;

	s->born = pid == __atomic_load_n(&cb->pid, __ATOMIC_RELAXED);
	if (s->born)
		return claim(s);

	s->inherited = KLP_TR_ID(tr) << 1;
	tp = thread_pointer(s);
	for (i = 0; tp && i < KLP_MAX_THREADS; i++) {
		const struct klp_rt_thread *parent = &cb->threads[i];

		if (__atomic_load_n(&parent->tid, __ATOMIC_ACQUIRE) &&
		    __atomic_load_n(&parent->tp, __ATOMIC_RELAXED) == tp) {
			s->inherited = __atomic_load_n(&parent->state, __ATOMIC_ACQUIRE);
			break;
		}
	}
	e = claim(s);
	/*
	 * From now on this process counts its own threads. Not in a child of vfork, which has another pid as well but
	 * shares this memory with its parent: its control block still holds the parent's tid. Where the tid is not in
	 * the control block the two cannot be told apart, so the word stays.
	 */
	if (cb->tid_offset != TID_UNKNOWN && s->tid == (uint32_t)klp_syscall0(KLP_NR_gettid))
		__atomic_store_n(&cb->pid, pid, __ATOMIC_RELAXED);
	return e;
}

/*
 * No transition. The engine publishes the transition word before any slot leads to a stub, and takes it away only after
 * every slot leads elsewhere (each with a membarrier between), so a thread that was on its way here sees the final
 * slot, or the word again. Returns the transition word if there is one after all.
 */
static uint64_t pass(struct klp_rt_site *site, struct klp_rt_regs *regs, struct klp_rt_cb *cb)
{
	uint64_t tr = __atomic_load_n(&cb->transition, __ATOMIC_ACQUIRE);
	unsigned n;

	for (n = 0; n < DISPATCH_RETRIES; n++) {
		uint64_t slot;

		if (KLP_TR_ACTIVE(tr))
			return tr;
		slot = __atomic_load_n(&site->slot, __ATOMIC_ACQUIRE);
		if (slot != site->stub) {
			regs->pc = slot;
			return 0;
		}
		tr = __atomic_load_n(&cb->transition, __ATOMIC_ACQUIRE);
	}
	regs->pc = site->body;
	return 0;
}

/*
 * The thread's universe for this call; and the one place where a thread moves from one to the other (invariant T1).
 *
 * The verdict says "when your entry count was n, no function being left was on your stack". The count is incremented
 * BEFORE the verdict is loaded (one locked instruction, a full barrier; its partner is the engine's membarrier between
 * the store of the verdict and its last look at in_sp): either the engine sees that this thread is in here, or this
 * thread sees the verdict and that it is stale. A signal handler that enters here after the increment of an outer
 * dispatch finds another count, so it cannot take a verdict that was given for the outer one; the outer one may still
 * take it when the handler is gone, because the stack is then again what the verdict speaks of. So an outer dispatch
 * (prev != 0, live or left by a longjmp) needs no test.
 *
 * Returns the transition word under which this was decided; not active: it is over.
 */
static uint64_t decide(const struct self *s, struct klp_rt_thread *e, const struct klp_rt_regs *regs,
		       uint32_t *universe)
{
	uint64_t prev = __atomic_load_n(&e->in_sp, __ATOMIC_RELAXED), tr, count, verdict;
	uint32_t state;

	__atomic_store_n(&e->in_sp, (uint64_t)regs, __ATOMIC_RELAXED);
	count = __atomic_fetch_add(&e->count, 1, __ATOMIC_SEQ_CST);

	/* Again, now that the engine can see us: a late thread must not act on a transition that is over or has been
	 * reversed. */
	tr = __atomic_load_n(&s->cb->transition, __ATOMIC_ACQUIRE);
	verdict = __atomic_load_n(&e->verdict, __ATOMIC_ACQUIRE);
	state = __atomic_load_n(&e->state, __ATOMIC_ACQUIRE);
	if (KLP_TR_ACTIVE(tr)) {
		uint32_t id = KLP_TR_ID(tr) << 1;

		/*
		 * A new thread is clean: in a sealed transition it begins in the target universe. Decided by the word
		 * that was loaded above, not by the one that this dispatch came in with: a reversal in between would
		 * leave it in a universe that the engine takes for the other one.
		 */
		if (s->born) {
			state = id | (KLP_TR_SEALED(tr) ? KLP_TR_TARGET(tr) : 0);
			__atomic_store_n(&e->state, state, __ATOMIC_RELEASE);
		} else if (verdict && verdict == KLP_VERDICT(KLP_TR_GENERATION(tr), count)) {
			state = id | KLP_TR_TARGET(tr);
			__atomic_store_n(&e->state, state, __ATOMIC_RELEASE);
		}
		*universe = (state & ~1u) == id ? state & 1 : 0;
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

void klp_rt_livepatch(struct klp_rt_site *site, struct klp_rt_regs *regs)
{
	struct self s = {.cb = (struct klp_rt_cb *)site->cb};
	struct klp_rt_thread *e;
	uint32_t universe = 0;
	uint64_t tr, pc;

	tr = pass(site, regs, s.cb);
	if (!tr)
		return;

	identify(&s);
	e = find(&s);
	if (!e)
		e = enter(&s, tr);
	if (e) {
		uint64_t tp = __atomic_load_n(&e->tp, __ATOMIC_RELAXED);

		/* Bound at the first dispatch; another value: the tid of a thread that has exited is in use again. */
		if (!tp || (s.tp && tp != s.tp))
			__atomic_store_n(&e->tp, thread_pointer(&s), __ATOMIC_RELAXED);
		tr = decide(&s, e, regs, &universe);
		if (!KLP_TR_ACTIVE(tr)) {
			tr = pass(site, regs, s.cb);
			if (!tr)
				return;
			/* The next one has begun in this very moment: in it this thread has not moved yet. */
			universe = 0;
		}
	}
	pc = __atomic_load_n(&site->pc[(KLP_TR_ID(tr) & 1) * 2 + universe], __ATOMIC_ACQUIRE);
	regs->pc = pc ? pc : site->body;
}
