/* SPDX-License-Identifier: Apache-2.0 */
/* The real runtime image in this process: what a call through the trampoline keeps, and how dispatch decides. */
#include <check.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "harness.h"
#include "victims.h"

struct snapshot {
	uint64_t reg[14], rsp, stack[5];
	uint8_t xmm[16][16];
	uint64_t which;
};
_Static_assert(sizeof(struct snapshot) == 424, "victims.S");

extern struct snapshot snapshot_now;
void call_with(const struct snapshot *in, void *stack_top, const void *fn);

#define ID 7u
#define GEN 3u
#define BEFORE 0u
#define AFTER 1u

/* Offset of the tid in the thread control block, found by looking for it. */
static int32_t tid_offset(void)
{
	uint32_t tid = (uint32_t)syscall(SYS_gettid);
	uint64_t tp;

	__asm__("movq %%fs:0, %0" : "=r"(tp));
	for (int32_t o = 0; o < 2048; o += 4)
		if (*(const uint32_t *)(tp + (uint64_t)o) == tid)
			return o;
	return INT32_MIN;
}

static struct world w;
/* Through pointers, so that the compiler cannot look into the victims. */
static int (*volatile plain)(int) = victim_plain;

static uint32_t me(void)
{
	return (uint32_t)syscall(SYS_gettid);
}

static void transition(unsigned id, unsigned gen, unsigned target, unsigned sealed)
{
	__atomic_store_n(&w.cb->transition, KLP_TR(id, gen, target, sealed), __ATOMIC_SEQ_CST);
}

static struct klp_rt_site *patch(const void *old, const void *new)
{
	struct klp_rt_site *r = world_add(&w, old, PREFIX_19_16);

	for (int i = 0; i < 4; i++)
		r->pc[i] = i & 1 ? (uint64_t) new : r->body;
	world_arm(&w, r);
	return r;
}

static void unpatch_all(void)
{
	for (unsigned i = 0; i < w.used; i++)
		world_disarm(&w, &w.record[i]);
	world_free(&w);
}

/* As a thread that read the slot before its last change. */
static int call_through_stub(const struct klp_rt_site *r, int a)
{
	int (*stub)(int);

	memcpy(&stub, &r->stub, sizeof(stub));
	return stub(a);
}

static struct klp_rt_thread *insert(uint32_t tid, uint32_t state)
{
	uint32_t i = KLP_THREAD_HASH(tid);

	while (w.cb->threads[i].tid)
		i = (i + 1) & (KLP_MAX_THREADS - 1);
	w.cb->threads[i].tid = tid;
	w.cb->threads[i].state = state;
	return &w.cb->threads[i];
}

/* 0: the kernel is asked for the tid; 1: it is in the thread control block; 2: and the block says whose it is. */
static void use_tid_mode(int mode)
{
	if (mode == 2) {
		ck_assert_int_eq(madvise(KLP_OWN_WORD(w.cb), KLP_OWN_PAGE, MADV_WIPEONFORK), 0);
		*KLP_OWN_WORD(w.cb) = KLP_OWN;
	}
	if (mode) {
		w.cb->tid_offset = tid_offset();
		ck_assert_int_ne(w.cb->tid_offset, INT32_MIN);
	}
}

#define STACK 65536
static uint8_t stack_area[STACK] __attribute__((aligned(64)));

/* Every register and stack word arrives as the caller set it; returns how many bytes below the caller's rsp were
 * written. */
static size_t check_registers(unsigned misalign, uint64_t which)
{
	uint8_t *top = stack_area + STACK - 1024 - misalign, *p = stack_area;
	struct snapshot in;

	for (size_t i = 0; i < sizeof(in); i++)
		((uint8_t *)&in)[i] = (uint8_t)random();
	memset(stack_area, 0xa5, sizeof(stack_area));
	for (int i = 0; i < 64; i++)
		top[i] = (uint8_t)(i * 3 + 1);
	memset(&snapshot_now, 0, sizeof(snapshot_now));
	call_with(&in, top, victim_dump);
	ck_assert_uint_eq(snapshot_now.which, which);
	ck_assert_mem_eq(snapshot_now.reg, in.reg, sizeof(in.reg));
	ck_assert_mem_eq(snapshot_now.xmm, in.xmm, sizeof(in.xmm));
	ck_assert_uint_eq(snapshot_now.rsp, (uint64_t)top - 8);
	ck_assert_mem_eq(snapshot_now.stack + 1, top, 32);
	for (int i = 0; i < 64; i++)
		ck_assert_uint_eq(top[i], (uint8_t)(i * 3 + 1));
	while (p < top && *p == 0xa5)
		p++;
	return (size_t)(top - 8 - p); /* below the rsp that the function sees */
}

START_TEST(test_registers)
{
	size_t deepest = 0;

	world_make(&w, _i & 1);
	use_tid_mode(_i >> 1);
	patch(victim_dump, victim_dump_new);
	for (unsigned round = 0; round < 64; round++) {
		unsigned misalign = round % 16;
		size_t depth;

		memset(w.cb->threads, 0, sizeof(w.cb->threads)); /* each time the slow path of a new thread as well */
		transition(ID, GEN, AFTER, round & 1);
		if (round % 8 == 7) /* a fork child's path */
			w.cb->pid = 1;
		depth = check_registers(misalign, round % 8 != 7 && (round & 1) ? 2 : 1);
		deepest = depth > deepest ? depth : deepest;
		w.cb->pid = (uint32_t)getpid();
		w.cb->transition = 0;
		w.record[0].slot = (uint64_t)victim_dump_new; /* complete: straight to the replacement */
		check_registers(misalign, 2);
		w.record[0].slot = w.record[0].stub;
	}
	printf("deepest write: %zu bytes below the caller's stack pointer\n", deepest);
	ck_assert_uint_gt(deepest, 96);
	ck_assert_uint_le(deepest, 512);
	unpatch_all();
}
END_TEST

START_TEST(test_registers_full)
{
	world_make(&w, _i);
	w.arena->trampoline = (uint64_t)w.image + ((const struct klp_rt_image *)w.image)->trampoline_full;
	patch(victim_dump, victim_dump_new);
	transition(ID, GEN, AFTER, 1);
	for (unsigned misalign = 0; misalign < 16; misalign++)
		ck_assert_uint_le(check_registers(misalign, 2), 512);
	unpatch_all();
}
END_TEST

static uint64_t full_seen[5], full_frame;
static void full_ops(struct klp_rt_site *site, struct klp_rt_regs *regs)
{
	(void)site;
	for (int i = 0; i < 5; i++)
		full_seen[i] = ((uint64_t *)regs)[-1 - i];
	full_frame = (uint64_t)__builtin_frame_address(0);
}

/* An ops of somebody else that asks for all registers and leaves the PC alone: the original body runs, and C code got
 * an aligned stack. */
START_TEST(test_full_records)
{
	struct klp_rt_ops ops = {.fn = (uint64_t)full_ops};
	uint64_t want[5];
	struct snapshot in;

	world_make(&w, 1);
	w.arena->trampoline = (uint64_t)w.image + ((const struct klp_rt_image *)w.image)->trampoline_full;
	patch(victim_dump, victim_dump_new)->ops = (uint64_t)&ops;
	for (unsigned misalign = 0; misalign < 16; misalign++) {
		for (size_t i = 0; i < sizeof(in); i++)
			((uint8_t *)&in)[i] = (uint8_t)random();
		call_with(&in, stack_area + STACK - 1024 - misalign, victim_dump);
		want[0] = in.reg[1];
		memcpy(want + 1, in.reg + 10, 32);
		ck_assert_mem_eq(full_seen, want, sizeof(want));
		ck_assert_uint_eq(full_frame % 16, 0);
		ck_assert_uint_eq(snapshot_now.which, 1);
		ck_assert_mem_eq(snapshot_now.reg, in.reg, sizeof(in.reg));
	}
	unpatch_all();
}
END_TEST

START_TEST(test_c_calls)
{
	struct big in, out;

	world_make(&w, _i);
	patch(victim_big, victim_big_new);
	patch(victim_many, victim_many_new);
	patch(victim_recurse, victim_recurse_new);
	for (unsigned u = 0; u < 2; u++) {
		insert(me(), ID << 1 | u);
		transition(ID, GEN, AFTER, 1);
		for (int i = 0; i < 8; i++) {
			in.v[i] = i * 100;
			in.d[i] = i * 0.5;
		}
		out = victim_big(in, 5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5);
		for (int i = 0; i < 8; i++) {
			ck_assert_int_eq(out.v[i], i * 100 + 5 + i + 1 + (u ? 1000 : 0));
			ck_assert(out.d[i] == i * 0.5 + i + 1.5 + (u ? 1000 : 0));
		}
		/* 385 + 11*1 + 12*2 + ... + 20*10 = 385 + 935, and the long double */
		ck_assert_int_eq(victim_many(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17.0L),
				 385 + 935 + 17 + (long)u);
		ck_assert_int_eq(victim_recurse(100), u ? 10100 : 5050);
		memset(w.cb->threads, 0, sizeof(w.cb->threads));
	}
	unpatch_all();
}
END_TEST

START_TEST(test_universe)
{
	struct klp_rt_site *r;
	struct klp_rt_thread *t;

	world_make(&w, _i & 1);
	use_tid_mode(_i >> 1);
	r = patch(victim_plain, victim_plain_new);
	t = insert(me(), ID << 1 | BEFORE);
	transition(ID, GEN, AFTER, 1);
	ck_assert_int_eq(plain(10), 21);
	ck_assert_uint_eq(t->count, 1);
	ck_assert_uint_eq(t->in_sp, 0);
	ck_assert_uint_ne(t->tp, 0);
	t->state = ID << 1 | AFTER;
	ck_assert_int_eq(plain(10), 22);
	/* The state of another transition does not count; once sealed it is that of a thread whose tid a new one has.
	 */
	transition(ID, GEN, AFTER, 0);
	t->state = (ID - 2) << 1 | AFTER;
	ck_assert_int_eq(plain(10), 21);
	transition(ID, GEN, AFTER, 1);
	t->state = (ID - 2) << 1 | BEFORE;
	ck_assert_int_eq(plain(10), 22);
	/* Each parity of the id has its own pair of PCs. */
	r->pc[0] = r->pc[1] = (uint64_t)victim_plain_new;
	t->state = ID << 1 | BEFORE;
	ck_assert_int_eq(plain(10), 21);
	transition(ID + 1, GEN, AFTER, 0);
	ck_assert_int_eq(plain(10), 22);
	/* No PC: the body. */
	r->pc[0] = 0;
	ck_assert_int_eq(plain(10), 21);
	/* No transition, the slot still at the stub: the body, and nothing is counted. */
	w.cb->transition = 0;
	ck_assert_uint_eq(t->count, 7);
	ck_assert_int_eq(plain(10), 21);
	ck_assert_uint_eq(t->count, 7);
	unpatch_all();
}
END_TEST

/* A thread that left the stub when another transition is in progress, which is not about this function: what its pc[]
 * says is of an earlier one. */
START_TEST(test_of_another_transition)
{
	struct klp_rt_site *r;
	struct klp_rt_thread *t;

	world_make(&w, 1);
	use_tid_mode(_i);
	r = patch(victim_plain, victim_plain_new);
	t = insert(me(), ID << 1 | BEFORE);
	transition(ID, GEN, AFTER, 1);
	r->slot = (uint64_t)victim_plain_new;
	ck_assert_int_eq(call_through_stub(r, 10), 22);
	t->state = ID << 1 | AFTER;
	r->slot = r->body;
	ck_assert_int_eq(call_through_stub(r, 10), 21);
	ck_assert_uint_eq(t->count, 0);
	unpatch_all();
}
END_TEST

START_TEST(test_verdict)
{
	struct klp_rt_thread *t;

	world_make(&w, 1);
	patch(victim_plain, victim_plain_new);
	t = insert(me(), ID << 1 | BEFORE);
	transition(ID, GEN, AFTER, 1);
	ck_assert_int_eq(plain(1), 3);
	t->verdict = KLP_VERDICT(GEN, 0); /* count is 1: stale */
	ck_assert_int_eq(plain(1), 3);
	t->verdict = KLP_VERDICT(GEN, 3); /* count is 2: not yet */
	ck_assert_int_eq(plain(1), 3);
	t->verdict = KLP_VERDICT(GEN + 1, 3);
	ck_assert_int_eq(plain(1), 3);
	t->verdict = KLP_VERDICT(GEN - 1, 4);
	ck_assert_int_eq(plain(1), 3);
	t->verdict = 0; /* none, even where generation and count are both 0 */
	t->count = 0;
	transition(ID, 0, AFTER, 1);
	ck_assert_int_eq(plain(1), 3);
	transition(ID, GEN, AFTER, 1);
	t->count = 5;
	t->verdict = KLP_VERDICT(GEN, 5);
	ck_assert_int_eq(plain(1), 4);
	ck_assert_uint_eq(t->state, ID << 1 | AFTER);
	/* Reversed: the old verdict does not move it back, a new one does, once. */
	transition(ID, GEN + 1, BEFORE, 1);
	ck_assert_int_eq(plain(1), 4);
	t->verdict = KLP_VERDICT(GEN + 1, 7);
	ck_assert_int_eq(plain(1), 3);
	t->state = ID << 1 | AFTER;
	ck_assert_int_eq(plain(1), 4);
	unpatch_all();
}
END_TEST

/* A verdict does not outlive its transition, even if generations come again. */
static void *run_helper(void *arg)
{
	void (*helper)(struct klp_rt_cb *);
	uint64_t at = w.cb->image + ((const struct klp_rt_image *)w.cb->image)->helper;

	(void)arg;
	memcpy(&helper, &at, sizeof(helper));
	helper(w.cb);
	return NULL;
}

/* By a stop, as the engine does it: nobody traces a thread of its own process. */
static void wake_helper(void)
{
	pid_t tid = (pid_t)w.cb->helper_tid, child;
	int status;

	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	child = fork();
	if (!child) {
		if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) || ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) ||
		    waitpid(tid, &status, __WALL) != tid)
			_exit(1);
		_exit(0); /* which detaches it */
	}
	waitpid(child, &status, 0);
}

static int64_t ask_helper(struct klp_rt_op op)
{
	uint8_t request = (uint8_t)(w.cb->request + 1);

	w.cb->ops[0] = op;
	w.cb->op_count = 1;
	__atomic_store_n(&w.cb->request, request, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&w.cb->done, __ATOMIC_SEQ_CST) != request) {
		if (__atomic_load_n(&w.cb->asleep, __ATOMIC_SEQ_CST))
			wake_helper();
		usleep(100);
	}
	return w.cb->ops[0].result;
}

START_TEST(test_insert)
{
	struct klp_rt_op again = {.code = KLP_OP_INSERT, .a = {me(), (ID + 1) << 1 | BEFORE}};
	struct klp_rt_thread *t;
	pthread_t thread;

	world_make(&w, 1);
	patch(victim_plain, victim_plain_new);
	t = insert(me(), ID << 1 | BEFORE);
	t->count = 5;
	t->verdict = KLP_VERDICT(GEN, 5);
	ck_assert_int_eq(pthread_create(&thread, NULL, run_helper, NULL), 0);
	ck_assert_int_eq(ask_helper(again), t - w.cb->threads);
	ck_assert_uint_eq(t->state, (ID + 1) << 1 | BEFORE);
	ck_assert_uint_eq(t->count, 5);
	transition(ID + 1, GEN, AFTER, 1);
	ck_assert_int_eq(plain(1), 3);
	t->verdict = KLP_VERDICT(GEN, 6);
	ck_assert_int_eq(ask_helper(again), t - w.cb->threads);
	ck_assert_int_eq(plain(1), 4);
	ask_helper((struct klp_rt_op){.code = KLP_OP_EXIT});
	pthread_join(thread, NULL);
	unpatch_all();
}
END_TEST

static void *call_plain(void *arg)
{
	return (void *)(long)plain((int)(long)arg);
}

static long on_new_thread(void)
{
	pthread_t t;
	void *ret;

	ck_assert_int_eq(pthread_create(&t, NULL, call_plain, (void *)1), 0);
	pthread_join(t, &ret);
	return (long)ret;
}

START_TEST(test_new_thread)
{
	world_make(&w, 1);
	use_tid_mode(_i);
	patch(victim_plain, victim_plain_new);
	transition(ID, GEN, AFTER, 0);
	ck_assert_int_eq(on_new_thread(), 3);
	memset(w.cb->threads, 0, sizeof(w.cb->threads));
	transition(ID, GEN, AFTER, 1);
	ck_assert_int_eq(on_new_thread(), 4);
	memset(w.cb->threads, 0, sizeof(w.cb->threads));
	transition(ID, GEN, BEFORE, 1);
	ck_assert_int_eq(on_new_thread(), 3);
	unpatch_all();
}
END_TEST

START_TEST(test_fork)
{
	int status;

	world_make(&w, 1);
	use_tid_mode(_i);
	patch(victim_plain, victim_plain_new);
	transition(ID, GEN, AFTER, 1);
	for (unsigned u = 0; u < 2; u++) {
		struct klp_rt_thread *t;

		memset(w.cb->threads, 0, sizeof(w.cb->threads));
		t = insert(me(), ID << 1 | u);
		ck_assert_int_eq(plain(1), 3 + (int)u); /* binds the thread pointer */
		pid_t pid = fork();
		if (!pid) {
			/* The child goes on in its caller's universe; threads that it makes are new. */
			if (plain(1) != 3 + (int)u || !thread_entry(&w, me()))
				_exit(1);
			if (*KLP_OWN_WORD(w.cb) || (_i && w.cb->pid != (uint32_t)getpid()))
				_exit(2);
			if (_i && on_new_thread() != 4)
				_exit(3);
			_exit(0);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
		ck_assert_uint_eq(w.cb->pid, (uint32_t)getpid());
		/* A child of vfork shares the memory: it must not take the block away from its parent. */
		pid = vfork();
		if (!pid)
			_exit(plain(1) != 3 + (int)u);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
		ck_assert_uint_eq(w.cb->pid, (uint32_t)getpid());
		ck_assert_uint_eq(t->state, ID << 1 | u);
	}
	unpatch_all();
}
END_TEST

static void expect_of_vfork_children(int want)
{
	for (unsigned i = 0; i < 64; i++) { /* their entries come to lie before and behind the parent's */
		int status;
		pid_t pid = vfork();

		if (!pid)
			_exit(plain(1) != want);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
	}
}

/* Each runs above its parent's frames: in the parent's universe as it is now, not as a sister left it. */
START_TEST(test_vfork_children)
{
	struct klp_rt_thread *t;
	uint64_t count;

	world_make(&w, 1);
	use_tid_mode(_i);
	patch(victim_plain, victim_plain_new);
	transition(ID, GEN, AFTER, 1);
	t = insert(me(), ID << 1);
	ck_assert_int_eq(plain(1), 3);
	expect_of_vfork_children(3);
	t->state = ID << 1 | AFTER;
	expect_of_vfork_children(4);
	transition(ID, GEN + 1, BEFORE, 1);
	t->state = ID << 1;
	expect_of_vfork_children(3);
	transition(ID, GEN + 2, AFTER, 1);
	/* A verdict on the parent that is still valid moves it: the engine takes it for moved. */
	t->verdict = KLP_VERDICT(GEN + 2, t->count);
	expect_of_vfork_children(4);
	ck_assert_uint_eq(t->state, ID << 1 | AFTER);
	ck_assert_uint_eq(t->in_sp, 0);
	/* One that is being given while the child enters finds another count. */
	t->state = ID << 1;
	count = t->count;
	expect_of_vfork_children(3);
	ck_assert_uint_ne(t->count, count);
	t->verdict = KLP_VERDICT(GEN + 2, count);
	expect_of_vfork_children(3);
	ck_assert_int_eq(plain(1), 3);
	unpatch_all();
}
END_TEST

/* Threads that have exited left entries with the thread pointer that this one has now. */
START_TEST(test_stack_used_again)
{
	for (unsigned u = 0; u < 2; u++) {
		struct klp_rt_thread *t;
		int status;
		pid_t pid;

		world_make(&w, 1);
		use_tid_mode(_i);
		patch(victim_plain, victim_plain_new);
		transition(ID, GEN, AFTER, 1);
		t = insert(me(), ID << 1 | u);
		ck_assert_int_eq(plain(1), 3 + (int)u);
		ck_assert_uint_ne(t->tp, 0);
		for (uint32_t i = 0; i < KLP_MAX_THREADS; i += 2) {
			struct klp_rt_thread *dead = &w.cb->threads[i];

			if (dead->tid)
				continue;
			dead->tid = 0x40000000 + i;
			dead->state = ID << 1 | !u;
			dead->tp = t->tp;
		}
		pid = fork();
		if (!pid)
			_exit(plain(1) != 3 + (int)u);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
		unpatch_all();
	}
}
END_TEST

/* The table still holds what tasks left whose tids this one's children get. */
START_TEST(test_tid_used_again)
{
	for (unsigned u = 0; u < 4; u++) {
		struct klp_rt_thread *t;
		int status;
		pid_t pid;

		world_make(&w, 1);
		use_tid_mode(_i);
		patch(victim_plain, victim_plain_new);
		transition(ID, GEN, u & 1 ? BEFORE : AFTER, 1);
		t = insert(me(), ID << 1 | (u & 1));
		ck_assert_int_eq(plain(1), 3 + (int)(u & 1));
		for (uint32_t i = 1; i < 4096; i++) {
			struct klp_rt_thread *dead = insert(me() + i, (u & 2 ? ID - 1 : ID) << 1 | !(u & 1));

			/* A child whose parent had no entry yet says nothing of the next one with its tid. */
			dead->tp = i & 1 ? KLP_TP_FOREIGN : t->tp + 4096;
			dead->verdict = KLP_VERDICT(GEN, 0);
			dead->parent = KLP_MAX_THREADS;
		}
		pid = fork();
		if (!pid)
			_exit(plain(1) != 3 + (int)(u & 1) || plain(1) != 3 + (int)(u & 1));
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
		expect_of_vfork_children(3 + (int)(u & 1));
		/* And new threads, which begin in the target universe, for the engine knows nothing of them. */
		if (u & 2)
			ck_assert_int_eq(on_new_thread(), u & 1 ? 3 : 4);
		unpatch_all();
	}
}
END_TEST

/* A thread of an earlier transition had the child's tid and the caller's stack; the caller has not called since. */
static int below_a_dead_one(uint64_t tp)
{
	struct klp_rt_thread *dead = insert(me(), (ID - 1) << 1 | AFTER);

	dead->tp = tp;
	dead->bound = ++w.cb->bindings;
	/* The second stands for one that the first has made: it is below this function's frames. */
	return plain(1) != 3 || plain(1) != 3;
}

START_TEST(test_tid_and_stack_used_again)
{
	uint64_t tp;
	int status;
	pid_t pid;

	world_make(&w, 1);
	use_tid_mode(_i);
	patch(victim_plain, victim_plain_new);
	transition(ID, GEN, AFTER, 1);
	plain(1);
	tp = thread_entry(&w, me())->tp;
	ck_assert_uint_ne(tp, 0);
	memset(w.cb->threads, 0, sizeof(w.cb->threads));
	memset(w.cb->bound_last, 0, sizeof(w.cb->bound_last));
	insert(me(), ID << 1);
	pid = fork();
	if (!pid)
		_exit(below_a_dead_one(tp));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	if (!_i) { /* a vfork child has the parent's tid in its control block */
		pid = vfork();
		if (!pid)
			_exit(below_a_dead_one(tp));
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
	}
	ck_assert_int_eq(plain(1), 3);
	unpatch_all();
}
END_TEST

START_TEST(test_table)
{
	uint32_t tid = me();
	struct klp_rt_thread *t;

	world_make(&w, 1);
	patch(victim_plain, victim_plain_new);
	transition(ID, GEN, AFTER, 1);
	/* All places taken by others. */
	for (uint32_t i = 0; i < KLP_MAX_THREADS; i++)
		w.cb->threads[i].tid = 0x40000000 + i;
	ck_assert_int_eq(plain(1), 3);
	ck_assert_uint_eq(w.cb->overflow, 1);
	/* One free place, the furthest from where the search begins: of an entry that is no more, or never taken. */
	w.cb->threads[(KLP_THREAD_HASH(tid) - 1) & (KLP_MAX_THREADS - 1)].tid = KLP_TID_FREED;
	w.cb->overflow = 0;
	ck_assert_int_eq(plain(1), 4);
	ck_assert_uint_eq(w.cb->overflow, 0);
	ck_assert_uint_eq(w.cb->places, 1);
	t = &w.cb->threads[(KLP_THREAD_HASH(tid) - 1) & (KLP_MAX_THREADS - 1)];
	t->tid = t->state = 0;
	ck_assert_int_eq(plain(1), 4);
	ck_assert_uint_eq(w.cb->overflow, 0);
	ck_assert_uint_eq(w.cb->places, 2);
	t = thread_entry(&w, tid);
	ck_assert_ptr_eq(t, &w.cb->threads[(KLP_THREAD_HASH(tid) - 1) & (KLP_MAX_THREADS - 1)]);
	ck_assert_uint_eq(t->count, 2); /* it goes on from the place's last owner */
	unpatch_all();
}
END_TEST

static volatile sig_atomic_t handler_calls, handler_bad, jump_wanted;
static sigjmp_buf jump;

static void storm_handler(int sig)
{
	int r = plain(5);

	(void)sig;
	handler_calls++;
	if (r != 11 && r != 12)
		handler_bad = 1;
	if (jump_wanted)
		siglongjmp(jump, 1);
}

static void storm(int usec)
{
	struct itimerval it = {.it_interval.tv_usec = usec, .it_value.tv_usec = usec};
	struct sigaction sa = {.sa_handler = storm_handler};

	ck_assert_int_eq(sigaction(SIGALRM, &sa, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &it, NULL), 0);
}

/* Signal handlers that enter patched functions, in every place of an interrupted dispatch. */
START_TEST(test_storm)
{
	struct klp_rt_thread *t;
	uint64_t calls = 0;
	int handlers;

	world_make(&w, 1);
	use_tid_mode(_i);
	patch(victim_plain, victim_plain_new);
	t = insert(me(), ID << 1 | BEFORE);
	transition(ID, GEN, AFTER, 1);
	handler_calls = 0;
	storm(200);
	for (unsigned gen = GEN; handler_calls < 3000; gen++) {
		unsigned target = gen & 1;
		int moved = 0;

		transition(ID, gen & 0x7fff, target, 1);
		t->verdict = KLP_VERDICT(gen & 0x7fff, t->count + 2);
		for (int i = 0; i < 4000; i++, calls++) {
			int r = plain(1);

			ck_assert(r == 3 || r == 4);
			if (r == 3 + (int)target)
				moved = 1;
			else
				ck_assert(!moved); /* never back without a new verdict */
		}
	}
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	handlers = handler_calls;
	ck_assert(!handler_bad);
	ck_assert_uint_eq(t->count, calls + (uint64_t)handlers);
	ck_assert_uint_eq(t->in_sp, 0);
	unpatch_all();
}
END_TEST

/*
 * A call of a patched function, stepped through: at each instruction, from the call to its return, a signal handler
 * does what may happen there. The handler's stack is another one, below or above the thread's own.
 */
enum { ALT_BELOW, ALT_ABOVE };
#define NEVER UINT32_MAX
static struct stepped {
	struct klp_rt_thread *entry;
	uint64_t start;                             /* the count before it */
	unsigned step, call_at, jump_at, answer_at; /* at which instruction */
	unsigned counted, offered;                  /* when the count rose, when the offer came */
	int handler_saw, answered;
	sigjmp_buf out;
	struct klp_rt_site *over; /* set: the handler's call is stepped through as well ... */
	uint64_t inside;          /* ... (its count then, plus 1) ... */
	unsigned risen, over_at;  /* ... and so many instructions behind the rise of its count the transition is over */
	struct klp_rt_site *next; /* set: in this step the transition ends and others come */
	unsigned next_at;
	bool turned; /* the one behind it is turned round and a third one begins, which is about the function */
} single;

/* As klp/transition.c ends one: each slot leads to its final body, then the word goes. */
static void end_transition(struct klp_rt_site *site)
{
	__atomic_fetch_or(&w.cb->transition, KLP_TR_COMPLETING_BIT, __ATOMIC_SEQ_CST);
	__atomic_store_n(&site->slot, site->pc[(ID & 1) * 2 + AFTER], __ATOMIC_SEQ_CST);
	__atomic_store_n(&w.cb->transition, 0, __ATOMIC_SEQ_CST);
}

/* The next ones, as klp/transition.c begins them: everybody is listed, so the thread has not arrived. */
static void begin_others(struct klp_rt_thread *t, struct klp_rt_site *site, bool turned)
{
	end_transition(site);
	t->state = (ID + 1) << 1 | BEFORE;
	transition(ID + 1, GEN + 1, AFTER, 1);
	if (!turned)
		return;
	__atomic_store_n(&w.cb->transition, 0, __ATOMIC_SEQ_CST);
	site->pc[(ID & 1) * 2 + BEFORE] = (uint64_t)victim_plain_new;
	site->pc[(ID & 1) * 2 + AFTER] = site->body;
	t->state = (ID + 2) << 1 | BEFORE;
	transition(ID + 2, GEN + 2, AFTER, 1);
	__atomic_store_n(&site->slot, site->stub, __ATOMIC_SEQ_CST);
}

static int trapped_call(void)
{
	int r;

	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "cc", "memory");
	r = plain(1);
	__asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "cc", "memory");
	return r;
}

static void single_step(int sig)
{
	struct klp_rt_thread *t = single.entry;
	struct klp_rt_door *d = &w.cb->door;
	unsigned step;

	(void)sig;
	if (single.inside) {
		if (t->count >= single.inside && single.risen++ == single.over_at)
			end_transition(single.over);
		return;
	}
	step = single.step++;
	if (step == single.next_at && single.next)
		begin_others(t, single.next, single.turned);
	if (!single.counted && t->count != single.start)
		single.counted = step;
	if (!single.offered && (uint8_t)d->seat == d->round && d->round)
		single.offered = step;
	if (step == single.call_at) {
		single.inside = single.over ? t->count + 1 : 0;
		single.handler_saw = single.over ? trapped_call() : plain(1);
		single.inside = 0;
	}
	/* And its answer at the door. */
	if (step == single.answer_at && single.offered) {
		t->verdict = KLP_VERDICT(GEN, single.start);
		single.answered = 1;
	}
	if (step == single.jump_at)
		siglongjmp(single.out, 1);
}

static struct stepped begin(struct klp_rt_thread *t)
{
	t->state = ID << 1 | BEFORE;
	t->verdict = 0;
	return (struct stepped){.entry = t, .start = t->count, .call_at = NEVER, .jump_at = NEVER, .answer_at = NEVER};
}

/* 0: left by a jump. */
static int stepped_call(void)
{
	return sigsetjmp(single.out, 1) ? 0 : trapped_call();
}

/* Where its count has risen, and how many instructions the call has. */
static void measure(struct klp_rt_thread *t, unsigned *counted, unsigned *length)
{
	single = begin(t);
	need(stepped_call() == 3);
	*counted = single.counted;
	*length = single.step;
	need(*counted > 10 && *length > *counted + 10);
}

/*
 * Once the engine has stored a verdict while the count was still the one that it names, it takes the thread for moved,
 * so whatever enters first must find the new universe. Also when an earlier dispatch was left by a jump, anywhere.
 */
static void verdict_at_every_instruction(struct klp_rt_thread *t)
{
	unsigned counted, length, jumps = 0;

	measure(t, &counted, &length);
	for (unsigned left = 0; left < 5; left++) {
		for (unsigned at = left ? counted - 10 : 0; at < (left ? counted + 60 : length); at++) {
			int r;

			single = begin(t);
			if (left) {
				single.jump_at = counted - 6 + 3 * left;
				need(stepped_call() == 0);
				jumps += t->base != 0;
				single = begin(t);
			}
			t->verdict = KLP_VERDICT(GEN, single.start);
			single.call_at = at;
			r = stepped_call();
			need(single.handler_saw == 4 || single.step <= at);
			need(r == 4);
			need(t->state == (ID << 1 | AFTER));
			t->in_sp = 0; /* of the one that was left */
		}
	}
	need(jumps > 100);
}

/*
 * The thread was proven, then it dispatched and was interrupted, and the handler may have jumped out. Its next dispatch
 * is interrupted in turn, at any instruction, and while the handler dispatches the transition ends. Both calls belong
 * to the new universe: nothing else is armed any more.
 */
static void end_at_every_instruction(struct klp_rt_thread *t, struct klp_rt_site *site)
{
	unsigned counted, length, jumps = 0, ended = 0;

	measure(t, &counted, &length);
	for (unsigned left = 0; left < 3; left++) {
		for (unsigned at = counted - 2; at < counted + 20; at++) {
			for (unsigned over = 0; over < 4; over++) {
				int r;

				single = begin(t);
				t->verdict = KLP_VERDICT(GEN, single.start);
				if (left) {
					single.jump_at = counted + left - 1;
					need(stepped_call() == 0);
					jumps +=
					    t->base != 0 && t->count != single.start && t->state != (ID << 1 | AFTER);
					single.start = t->count;
					single.step = single.counted = 0;
					single.jump_at = NEVER;
				}
				single.call_at = at;
				single.over = site;
				single.over_at = over;
				r = stepped_call();
				need(single.handler_saw == 4);
				need(r == 4);
				ended += !w.cb->transition;
				transition(ID, GEN, AFTER, 1);
				__atomic_store_n(&site->slot, site->stub, __ATOMIC_SEQ_CST);
				t->in_sp = 0;
				t->base = 0;
			}
		}
	}
	need(jumps > 100 && ended > 200);
}

/*
 * The thread was proven, so the transition ends while its dispatch sleeps, at any instruction, and another one begins.
 * That is not about this function, or is turned round, and then comes one that is. The thread can be in none of
 * these what it was in its own.
 */
static void others_at_every_instruction(struct klp_rt_thread *t, struct klp_rt_site *site)
{
	unsigned counted, length, direct = 0;
	uint64_t pc[4];

	memcpy(pc, site->pc, sizeof(pc));
	measure(t, &counted, &length);
	for (unsigned turned = 0; turned < 2; turned++) {
		for (unsigned at = 0; at < length; at++) {
			int r;

			single = begin(t);
			t->verdict = KLP_VERDICT(GEN, single.start);
			single.next = site;
			single.next_at = at;
			single.turned = turned;
			r = stepped_call();
			need(r == 4);
			need(t->in_sp == 0);
			direct += t->count == single.start;
			memcpy(site->pc, pc, sizeof(pc));
			transition(ID, GEN, AFTER, 1);
			__atomic_store_n(&site->slot, site->stub, __ATOMIC_SEQ_CST);
		}
	}
	need(direct > 20);
}

static void invite(struct klp_rt_thread *t, uint8_t round)
{
	struct klp_rt_door *d = &w.cb->door;

	memset(d, 0, sizeof(*d));
	d->patience = 5;
	d->generation = GEN;
	d->invited[KLP_DOOR_OF(t - w.cb->threads)].entry = (uint64_t)t;
	d->round = round;
}

/*
 * The answer is right for this call only, at whatever instruction it comes: before the end of the wait it moves the
 * thread, also when a handler has called a function of the old universe meanwhile; after it, it never does.
 */
static void answer_at_every_instruction(struct klp_rt_thread *t)
{
	unsigned offered = 0, length = NEVER, in_time = 0, late = 0;

	for (unsigned at = 0; at < length; at++) {
		for (unsigned handler = 0; handler < 2; handler++) {
			int r;

			invite(t, 5);
			single = begin(t);
			single.answer_at = at;
			if (handler)
				single.call_at = at;
			r = stepped_call();
			if (!at && !handler) {
				offered = single.offered;
				length = single.step;
				need(offered > 10 && length > offered + 20);
				at = offered - 5;
			}
			if (single.handler_saw)
				need(single.handler_saw == 3 || (r == 4 && single.handler_saw == 4));
			need(single.answered == (at >= offered));
			need(r == (t->state == (ID << 1 | AFTER) ? 4 : 3));
			need(t->in_sp == 0);
			in_time += r == 4;
			if (r == 3 && single.answered) {
				late++;
				need(plain(1) == 3);
				need(plain(1) == 3);
			}
			if (at >= offered && at < offered + 15)
				need(r == 4);
		}
	}
	need(in_time > 50 && late > 50);
	w.cb->door.round = 0;
}

static void *at_every_instruction(void *arg)
{
	stack_t alt = {.ss_sp = arg, .ss_size = STACK};
	struct sigaction sa = {.sa_handler = single_step, .sa_flags = SA_ONSTACK | SA_NODEFER};
	struct klp_rt_thread *t = insert(me(), ID << 1 | BEFORE);

	need(!sigaltstack(&alt, NULL));
	need(!sigaction(SIGTRAP, &sa, NULL));
	/* The first call asks the kernel who it is. */
	need(plain(1) == 3);
	verdict_at_every_instruction(t);
	end_at_every_instruction(t, &w.record[0]);
	others_at_every_instruction(t, &w.record[0]);
	answer_at_every_instruction(t);
	alt.ss_flags = SS_DISABLE;
	sigaltstack(&alt, NULL);
	return NULL;
}

START_TEST(test_handler_at_every_instruction)
{
	static uint8_t area[3 * STACK] __attribute__((aligned(4096)));
	pthread_attr_t attr;
	pthread_t thread;

	world_make(&w, 1);
	use_tid_mode(_i >> 1);
	patch(victim_plain, victim_plain_new);
	transition(ID, GEN, AFTER, 1);
	pthread_attr_init(&attr);
	ck_assert_int_eq(pthread_attr_setstack(&attr, area + STACK, STACK), 0);
	ck_assert_int_eq(
	    pthread_create(&thread, &attr, at_every_instruction, area + ((_i & 1) == ALT_ABOVE ? 2 * STACK : 0)), 0);
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attr);
	unpatch_all();
}
END_TEST

/* Who is not meant does not wait and says nothing; who is, waits once, whatever the engine says or does not say. */
START_TEST(test_door)
{
	struct klp_rt_invitation *in;
	struct klp_rt_thread *t;
	struct klp_rt_door *d;

	world_make(&w, 1);
	use_tid_mode(_i);
	patch(victim_plain, victim_plain_new);
	t = insert(me(), ID << 1 | BEFORE);
	d = &w.cb->door;
	in = &d->invited[KLP_DOOR_OF(t - w.cb->threads)];
	transition(ID, GEN, AFTER, 1);
	ck_assert_int_eq(plain(1), 3);
	ck_assert_uint_eq(d->seat, 0);
	for (unsigned k = 0; k < 6; k++) {
		uint64_t taken = k == 5 ? KLP_DOOR_SEAT(8, 9) : 0;

		invite(t, 9);
		d->seat = taken; /* by another one */
		if (k == 0)
			in->entry += sizeof(*t);
		if (k == 1)
			d->generation = GEN + 1;
		if (k == 2)
			in->above = (uint64_t)__builtin_frame_address(0) + 65536;
		if (k == 3)
			d->round = 0;
		if (k == 4)
			t->state = ID << 1 | AFTER;
		ck_assert_int_eq(plain(1), k == 4 ? 4 : 3);
		ck_assert_uint_eq(d->seat, taken);
		t->state = ID << 1 | BEFORE;
	}
	invite(t, 9);
	d->patience = UINT32_MAX; /* the engine's wish has a limit */
	ck_assert_int_eq(plain(1), 3);
	ck_assert_uint_eq((uint8_t)d->seat, 9);
	d->seat = KLP_DOOR_SEAT(8, 9);
	ck_assert_int_eq(plain(1), 3);
	ck_assert_uint_eq(d->seat, KLP_DOOR_SEAT(8, 9)); /* not again */
	d->round = 10;
	ck_assert_int_eq(plain(1), 3);
	ck_assert_uint_eq((uint8_t)d->seat, 10);
	/* The frame that it names is the call's. */
	ck_assert_uint_lt(d->seat >> 8, (uint64_t)__builtin_frame_address(0));
	ck_assert_uint_gt(d->seat >> 8, (uint64_t)__builtin_frame_address(0) - 1024);
	unpatch_all();
}
END_TEST

START_TEST(test_longjmp)
{
	volatile uint64_t jumps = 0, left = 0;
	struct klp_rt_thread *t;

	world_make(&w, 1);
	patch(victim_plain, victim_plain_new);
	t = insert(me(), ID << 1 | AFTER);
	transition(ID, GEN, AFTER, 1);
	handler_calls = 0;
	jump_wanted = 1;
	if (sigsetjmp(jump, 1))
		jumps++;
	/* A frame that was left stays visible, as the address of its registers, until the engine clears it. */
	if (t->in_sp) {
		left++;
		need(t->in_sp < 1ull << 47);
		need(t->in_sp % 8 == 0);
		t->in_sp = 0;
	}
	if (!jumps)
		storm(200);
	while (jumps < 3000)
		need(plain(1) == 4); /* not ck_assert: it takes a lock, which a jump would leave held */
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	jump_wanted = 0;
	ck_assert(!handler_bad);
	ck_assert_int_eq(plain(1), 4);
	printf("%llu jumps, %llu out of dispatch\n", (unsigned long long)jumps, (unsigned long long)left);
	ck_assert_uint_gt(left, 0);
	unpatch_all();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("image");
	TCase *tc = tcase_create("image");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_registers, 0, 4);
	tcase_add_loop_test(tc, test_registers_full, 0, 2);
	tcase_add_test(tc, test_full_records);
	tcase_add_loop_test(tc, test_c_calls, 0, 2);
	tcase_add_loop_test(tc, test_universe, 0, 4);
	tcase_add_loop_test(tc, test_of_another_transition, 0, 2);
	tcase_add_test(tc, test_verdict);
	tcase_add_test(tc, test_insert);
	tcase_add_loop_test(tc, test_new_thread, 0, 2);
	tcase_add_loop_test(tc, test_fork, 0, 3);
	tcase_add_loop_test(tc, test_vfork_children, 0, 3);
	tcase_add_loop_test(tc, test_stack_used_again, 0, 2);
	tcase_add_loop_test(tc, test_tid_used_again, 0, 2);
	tcase_add_loop_test(tc, test_tid_and_stack_used_again, 0, 2);
	tcase_add_test(tc, test_table);
	tcase_add_loop_test(tc, test_storm, 0, 2);
	tcase_add_loop_test(tc, test_handler_at_every_instruction, 0, 4);
	tcase_add_loop_test(tc, test_door, 0, 2);
	tcase_add_test(tc, test_longjmp);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
