/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transient helper: a thread of klp's own in the target, with all signals blocked, its own stack, no TLS and raw
 * system calls. It executes requests of the engine in order and to their end, whatever happens to the engine meanwhile,
 * and leaves when it hears nothing for a while. Without a request it makes one call only, the one in which it waits: at
 * any time a seccomp filter may come that forbids all others, and of these the engine has looked at the filters first
 * (klp/permit.h).
 */
#include "klp/runtime/rt.h"
#include "cpu.h"
#include "syscall.h"

#pragma GCC poison malloc calloc realloc free printf fprintf memcpy memset errno

#define PR_SET_NAME 15
#define MAP_PRIVATE_ANON_NOREPLACE 0x104022ull /* MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE */
#define SYNC_CORE 32u                          /* MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE */
#define SYNC_CORE_REGISTER 64u
#define EPERM_ 1
#define EINTR_ 4
#define EFAULT_ 14
#define EBUSY_ 16
#define EEXIST_ 17
#define EINVAL_ 22
#define ENOSPC_ 28
#define IDLE_SECONDS 2 /* without a request: it leaves */

void klp_rt_helper(struct klp_rt_cb *cb);

/* Registration waits for a grace period when the process has several threads: here it holds up nobody (hazard A7). */
static int64_t sync_core(struct klp_rt_cb *cb)
{
	int64_t rc = klp_syscall2(KLP_NR_membarrier, SYNC_CORE, 0);

	if (rc != -EPERM_)
		return rc;
	rc = klp_syscall2(KLP_NR_membarrier, SYNC_CORE_REGISTER, 0);
	if (rc)
		return rc;
	__atomic_store_n(&cb->sync_registered, 1, __ATOMIC_RELEASE);
	return klp_syscall2(KLP_NR_membarrier, SYNC_CORE, 0);
}

static int64_t map(struct klp_rt_cb *cb, const uint64_t *a)
{
	struct klp_rt_map *m;
	int64_t rc;

	if (a[3] >= KLP_MAX_MAPS || cb->maps[a[3]].live)
		return -EINVAL_;
	m = &cb->maps[a[3]];
	rc = klp_syscall6(KLP_NR_mmap, a[0], a[1], a[2], MAP_PRIVATE_ANON_NOREPLACE, (uint64_t)-1, 0);
	if (rc < 0)
		return rc;
	if ((uint64_t)rc != a[0]) { /* a kernel that does not know the flag and took it for a hint */
		klp_syscall2(KLP_NR_munmap, (uint64_t)rc, a[1]);
		return -EINVAL_;
	}
	m->addr = a[0];
	m->len = a[1];
	m->prot = (uint32_t)a[2];
	m->owner = (uint32_t)a[4];
	__atomic_store_n(&m->live, 1, __ATOMIC_RELEASE);
	return 0;
}

/*
 * For a word of the program's own, whose object another thread may be closing. Whether something is mapped there is
 * seen by a mapping that the kernel must refuse. What is left is the moment between that and the next instruction.
 */
static int64_t replace(const uint64_t *a)
{
	uint64_t expected = a[1];
	int64_t rc;

	if (a[0] & 7)
		return -EINVAL_;
	rc = klp_syscall6(KLP_NR_mmap, a[0] & ~4095ull, 4096, 0, MAP_PRIVATE_ANON_NOREPLACE, (uint64_t)-1, 0);
	if (rc >= 0) {
		klp_syscall2(KLP_NR_munmap, (uint64_t)rc, 4096);
		return -EFAULT_;
	}
	if (rc != -EEXIST_)
		return rc;
	return __atomic_compare_exchange_n((uint64_t *)a[0], &expected, a[2], 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)
		   ? 0
		   : -EBUSY_;
}

static int64_t unmap(struct klp_rt_cb *cb, const uint64_t *a)
{
	int64_t rc;

	if (a[0] >= KLP_MAX_MAPS || !cb->maps[a[0]].live)
		return -EINVAL_;
	rc = klp_syscall2(KLP_NR_munmap, cb->maps[a[0]].addr, cb->maps[a[0]].len);
	if (!rc)
		__atomic_store_n(&cb->maps[a[0]].live, 0, __ATOMIC_RELEASE);
	return rc;
}

static struct klp_rt_thread *find(struct klp_rt_cb *cb, uint32_t tid)
{
	uint32_t i = KLP_THREAD_HASH(tid), n;

	for (n = 0; n < KLP_MAX_THREADS; n++, i = (i + 1) & (KLP_MAX_THREADS - 1)) {
		uint32_t found = __atomic_load_n(&cb->threads[i].tid, __ATOMIC_ACQUIRE);

		if (found == tid)
			return &cb->threads[i];
		if (!found)
			break;
	}
	return 0;
}

/* The same probe sequence as dispatch; threads claim entries at the same time. */
static struct klp_rt_thread *claim(struct klp_rt_cb *cb, uint32_t tid, uint32_t state)
{
	uint32_t i = KLP_THREAD_HASH(tid), n;

	for (n = 0; n < KLP_MAX_THREADS; n++, i = (i + 1) & (KLP_MAX_THREADS - 1)) {
		struct klp_rt_thread *e = &cb->threads[i];
		uint64_t found = __atomic_load_n((uint64_t *)e, __ATOMIC_ACQUIRE);

		/* By one store: the thread may look for its entry at this moment. */
		if ((!found || (uint32_t)found == KLP_TID_FREED) &&
		    __atomic_compare_exchange_n((uint64_t *)e, &found, KLP_THREAD_CLAIM(tid, state), 0,
						__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			__atomic_fetch_add(&cb->places, 1, __ATOMIC_RELAXED);
			return e;
		}
		if ((uint32_t)found == tid)
			return e;
	}
	return 0;
}

static int64_t insert(struct klp_rt_cb *cb, uint32_t tid, uint32_t state, int over)
{
	struct klp_rt_thread *e = find(cb, tid);
	uint64_t found;

	if (!e)
		e = claim(cb, tid, state);
	if (!e)
		return -ENOSPC_;
	/* Of an earlier transition: from here on it is of this one. So whoever finds an older entry in a sealed
	 * transition is a new thread whose tid another one had. Its verdict is void by its generation, of which there
	 * are 65,535 only: a thread that has not dispatched since may be inside what is left now. */
	found = __atomic_load_n((uint64_t *)e, __ATOMIC_ACQUIRE);
	if (((uint32_t)(found >> 32) ^ state) & ~1u)
		__atomic_store_n(&e->verdict, 0, __ATOMIC_RELEASE);
	while ((((uint32_t)(found >> 32) ^ state) & (over ? ~0u : ~1u)) &&
	       !__atomic_compare_exchange_n((uint64_t *)e, &found, KLP_THREAD_CLAIM(tid, state), 0, __ATOMIC_ACQ_REL,
					    __ATOMIC_ACQUIRE))
		;
	return e - cb->threads;
}

/*
 * The place of a thread that is no more. Its count stays, so a verdict on it never matches that of the next owner.
 * Chains become shorter where nothing stands behind the place. A thread that is late, with an older transition's word
 * in hand, and claims at this moment has another place than the one that it is given later: it is not proven in
 * dispatch, and its next entry finds the latter.
 */
static int64_t forget(struct klp_rt_cb *cb, uint64_t index, uint32_t tid)
{
	struct klp_rt_thread *e = &cb->threads[index & (KLP_MAX_THREADS - 1)];
	uint64_t freed = KLP_THREAD_CLAIM(KLP_TID_FREED, 0);

	if (index >= KLP_MAX_THREADS || !tid || tid == KLP_TID_FREED || e->tid != tid)
		return -EINVAL_;
	e->tp = e->verdict = e->in_sp = e->base = e->bound = e->parent = 0;
	__atomic_store_n((uint64_t *)e, freed, __ATOMIC_RELEASE);
	__atomic_fetch_sub(&cb->places, 1, __ATOMIC_RELAXED);
	while (!__atomic_load_n(&cb->threads[(index + 1) & (KLP_MAX_THREADS - 1)].tid, __ATOMIC_ACQUIRE) &&
	       __atomic_compare_exchange_n((uint64_t *)&cb->threads[index & (KLP_MAX_THREADS - 1)], &freed, 0, 0,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
		freed = KLP_THREAD_CLAIM(KLP_TID_FREED, 0);
		index--;
	}
	return 0;
}

static int64_t execute(struct klp_rt_cb *cb, struct klp_rt_op *op)
{
	const uint64_t *a = op->a;

	switch (op->code) {
	case KLP_OP_SYSCALL:
		return klp_syscall6((int64_t)a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
	case KLP_OP_STORE:
		if (a[0] & 7)
			return -EINVAL_;
		__atomic_store_n((uint64_t *)a[0], a[1], __ATOMIC_RELEASE);
		return 0;
	case KLP_OP_REPLACE:
		return replace(a);
	case KLP_OP_SYNC:
		return sync_core(cb);
	case KLP_OP_MAP:
		return map(cb, a);
	case KLP_OP_UNMAP:
		return unmap(cb, a);
	case KLP_OP_FORGET:
		return forget(cb, a[0], (uint32_t)a[1]);
	case KLP_OP_CALL:
		return ((int64_t(*)(void))a[0])();
	case KLP_OP_INSERT:
		return insert(cb, (uint32_t)a[0], (uint32_t)a[1], a[2] != 0);
	default:
		return -EINVAL_;
	}
}

/* It never comes back. Behind `done` the operation may be overwritten. */
__attribute__((noreturn)) static void park(struct klp_rt_cb *cb, const struct klp_rt_op *op, uint8_t request)
{
	int64_t nr = (int64_t)op->a[0];
	uint64_t a = op->a[1], b = op->a[2], c = op->a[3], d = op->a[4], e = op->a[5], f = op->a[6];

	__atomic_store_n(&cb->done, request, __ATOMIC_SEQ_CST);
	for (;;) {
		klp_relax();
		if (nr >= 0)
			klp_syscall6(nr, a, b, c, d, e, f);
	}
}

static void leave(struct klp_rt_cb *cb)
{
	__atomic_store_n(&cb->helper_tid, 0, __ATOMIC_SEQ_CST);
}

/* Executes the ops of one request. Returns 1 if it was told to leave. */
static int run(struct klp_rt_cb *cb)
{
	uint32_t count = __atomic_load_n(&cb->op_count, __ATOMIC_RELAXED), i;
	uint8_t request =
	    __atomic_load_n(&cb->request, __ATOMIC_ACQUIRE); /* pairs with the engine's order: ops, count, request */
	int last = 0;

	if (count > KLP_MAX_OPS)
		count = 0;
	for (i = 0; i < count; i++) {
		struct klp_rt_op *op = &cb->ops[i];

		if (op->code == KLP_OP_EXIT) {
			op->result = 0;
			last = 1;
			i++;
			break;
		}
		if (op->code == KLP_OP_PARK) {
			__atomic_store_n(&cb->op_done, i + 1, __ATOMIC_RELEASE);
			park(cb, op, request);
		}
		op->result = execute(cb, op);
		if (op->result < 0 && op->code != KLP_OP_SYSCALL && op->code != KLP_OP_INSERT &&
		    op->code != KLP_OP_FORGET) {
			i++;
			break;
		}
	}
	__atomic_store_n(&cb->op_done, i, __ATOMIC_RELEASE);
	if (last)
		leave(cb);
	__atomic_store_n(&cb->done, request, __ATOMIC_SEQ_CST);
	return last;
}

/*
 * Until the next request, which ends the wait by a stop (klp/wake.h; docs/model/wake.pml). It waits for no signal: one
 * of the program's could come to it instead of to the program. 1: its time is over, or the kernel does not let it wait.
 */
static int rest(struct klp_rt_cb *cb)
{
	uint64_t none = 0, timeout[2] = {IDLE_SECONDS, 0};
	int64_t rc;

	__atomic_store_n(&cb->asleep, 1, __ATOMIC_SEQ_CST);
	rc = klp_syscall4(KLP_NR_rt_sigtimedwait, (uint64_t)&none, 0, (uint64_t)timeout, 8);
	__atomic_store_n(&cb->asleep, 0, __ATOMIC_SEQ_CST);
	return rc != -EINTR_;
}

__attribute__((noreturn)) void klp_rt_helper(struct klp_rt_cb *cb)
{
	static const char name[] = "klp-helper";
	uint32_t tid;
	int over = 0;

	cb->asleep = 0; /* the last one may have been killed while it slept */
	cb->parked = 0;
	klp_syscall2(KLP_NR_prctl, PR_SET_NAME, (uint64_t)name);
	tid = (uint32_t)klp_syscall0(KLP_NR_gettid);
	__atomic_store_n(&cb->helper_tid, tid, __ATOMIC_SEQ_CST);
	for (;;) {
		if (__atomic_load_n(&cb->request, __ATOMIC_ACQUIRE) != cb->done) {
			if (run(cb))
				break;
		} else if (over) {
			leave(cb);
			/* A request that came before the engine could see the 0 is still ours (its pair: the engine
			 * looks at helper_tid behind its store of `request`). */
			if (__atomic_load_n(&cb->request, __ATOMIC_SEQ_CST) == cb->done)
				break;
			__atomic_store_n(&cb->helper_tid, tid, __ATOMIC_SEQ_CST);
		}
		over = rest(cb);
	}
	for (;;)
		klp_syscall2(KLP_NR_exit, 0, 0);
}
