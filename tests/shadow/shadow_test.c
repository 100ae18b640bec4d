/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shadow variables: the runtime's code, called through the header that patches include. The world is what the image and
 * the control block are in a target: one behind the other.
 */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klp/runtime/rt.h"
#include "klp/include/klp/shadow.h"

struct world {
	unsigned char image[KLP_RT_TEXT_SIZE];
	struct klp_rt_cb cb;
};
extern struct world world __asm__("klp_rt_begin") __attribute__((visibility("hidden")));
struct world world;
_Static_assert(offsetof(struct world, cb) == KLP_RT_TEXT_SIZE, "the control block lies behind the image");

#define THREADS 8
/* An emulated machine is 30 times slower, and one thread that waits for the lock of another 300 times. */
#ifdef KLP_EMULATED
#define ROUNDS_OF(n) ((n) / 6)
#else
#define ROUNDS_OF(n) (n)
#endif

/* As the engine and its helper make it. */
static struct klp_rt_shadow *area_make(size_t size)
{
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct klp_rt_shadow *a = (struct klp_rt_shadow *)(void *)at;

	ck_assert_ptr_ne(at, MAP_FAILED);
	ck_assert_int_eq(madvise(at + KLP_SHADOW_PAGE, KLP_SHADOW_PAGE, MADV_WIPEONFORK), 0);
	a->used = KLP_SHADOW_FIRST;
	a->size = size;
	__atomic_store_n(&world.cb.shadow, (uint64_t)at, __ATOMIC_RELEASE);
	return a;
}

static void area_drop(void)
{
	struct klp_rt_shadow *a = (struct klp_rt_shadow *)world.cb.shadow;

	world.cb.shadow = 0;
	munmap(a, a->size);
}

/* Slots of a kind, as the engine counts them. */
static unsigned slots(enum klp_shadow_kind kind)
{
	const struct klp_rt_shadow *a = (const struct klp_rt_shadow *)world.cb.shadow;
	unsigned n = 0;

	for (unsigned i = 0; i < KLP_SHADOW_TABLES && a->table[i]; i++) {
		const struct klp_rt_shadow_slot *s = (const void *)((const char *)a + a->table[i]);

		for (uint64_t k = 0; k < KLP_SHADOW_TABLE_SLOTS(i); k++)
			n += KLP_SHADOW_KIND(s[k].state) == (unsigned)kind;
	}
	return n;
}

static int constructed, destroyed;
static int ctor_set(void *obj, void *data, void *arg)
{
	(void)obj;
	__atomic_fetch_add(&constructed, 1, __ATOMIC_RELAXED);
	*(long *)data = *(long *)arg;
	return 0;
}
static int ctor_fails(void *obj, void *data, void *arg)
{
	(void)obj;
	(void)arg;
	memset(data, 0xff, 8);
	return -1;
}
static void dtor_count(void *obj, void *data)
{
	(void)obj;
	(void)data;
	__atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
}

START_TEST(kernel_semantics)
{
	long value = 7, other = 8, *v, *w;
	int obj[3];

	/* Without an area (no patch that uses any): there are none. */
	ck_assert_ptr_null(klp_shadow_get(obj, 1));
	ck_assert_ptr_null(klp_shadow_alloc(obj, 1, 8, NULL, NULL));
	klp_shadow_free(obj, 1, NULL);
	klp_shadow_free_all(1, NULL);
	area_make(KLP_SHADOW_AREA_MIN);
	constructed = destroyed = 0;

	ck_assert_ptr_null(klp_shadow_get(obj, 1));
	v = klp_shadow_alloc(obj, 1, sizeof(*v), ctor_set, &value);
	ck_assert_ptr_nonnull(v);
	ck_assert_int_eq(*v, 7);
	ck_assert_uint_eq((uintptr_t)v & 15, 0);
	ck_assert_ptr_eq(klp_shadow_get(obj, 1), v);
	/* Another object, another id: others. */
	ck_assert_ptr_null(klp_shadow_get(obj + 1, 1));
	ck_assert_ptr_null(klp_shadow_get(obj, 2));
	/* Exists: alloc fails and runs nothing, get_or_alloc finds. */
	ck_assert_ptr_null(klp_shadow_alloc(obj, 1, sizeof(*v), ctor_set, &other));
	ck_assert_ptr_eq(klp_shadow_get_or_alloc(obj, 1, sizeof(*v), ctor_set, &other), v);
	ck_assert_int_eq(constructed, 1);
	ck_assert_int_eq(*v, 7);
	w = klp_shadow_get_or_alloc(obj + 1, 1, sizeof(*w), ctor_set, &other);
	ck_assert_ptr_nonnull(w);
	ck_assert_ptr_ne(w, v);
	ck_assert_int_eq(constructed, 2);
	/* Zeroed without a constructor, also where something else was. */
	klp_shadow_free(obj + 1, 1, dtor_count);
	ck_assert_int_eq(destroyed, 1);
	ck_assert_ptr_null(klp_shadow_get(obj + 1, 1));
	w = klp_shadow_get_or_alloc(obj + 2, 1, sizeof(*w), NULL, NULL);
	ck_assert_ptr_nonnull(w);
	ck_assert_int_eq(*w, 0);
	/* A constructor that fails leaves nothing. */
	ck_assert_ptr_null(klp_shadow_get_or_alloc(obj, 9, 8, ctor_fails, NULL));
	ck_assert_ptr_null(klp_shadow_alloc(obj, 9, 8, ctor_fails, NULL));
	ck_assert_ptr_null(klp_shadow_get(obj, 9));
	w = klp_shadow_alloc(obj, 9, 8, NULL, NULL);
	ck_assert_ptr_nonnull(w);
	ck_assert_int_eq(*w, 0);
	/* By id. */
	klp_shadow_free_all(1, dtor_count);
	ck_assert_int_eq(destroyed, 3);
	ck_assert_ptr_null(klp_shadow_get(obj, 1));
	ck_assert_ptr_null(klp_shadow_get(obj + 2, 1));
	ck_assert_ptr_eq(klp_shadow_get(obj, 9), w);
	klp_shadow_free(obj, 9, NULL);
	klp_shadow_free(obj, 9, dtor_count);
	ck_assert_int_eq(destroyed, 3);
	ck_assert_uint_eq(slots(KLP_SHADOW_FREE), KLP_SHADOW_TABLE_SLOTS(0));
	area_drop();
}
END_TEST

#define MANY ROUNDS_OF(20000u)
/* More than the first tables hold; then freed, and the room is used again. */
START_TEST(many_and_limit)
{
	const struct klp_rt_shadow *a = area_make(8 * KLP_SHADOW_AREA_MIN);
	uint64_t used;
	unsigned made;

	for (unsigned round = 0; round < 2; round++) {
		for (uintptr_t i = 1; i <= MANY; i++) {
			uintptr_t *v = klp_shadow_alloc((void *)(i * 48), i % 3, sizeof(*v), NULL, NULL);

			ck_assert_ptr_nonnull(v);
			ck_assert_uint_eq(*v, 0);
			*v = i;
		}
		for (uintptr_t i = 1; i <= MANY; i++) {
			const uintptr_t *v = klp_shadow_get((void *)(i * 48), i % 3);

			ck_assert_ptr_nonnull(v);
			ck_assert_uint_eq(*v, i);
		}
		for (uintptr_t i = 1; i <= MANY; i++)
			klp_shadow_free((void *)(i * 48), i % 3, NULL);
		ck_assert_uint_eq(slots(KLP_SHADOW_READY), 0);
		if (round)
			ck_assert_uint_eq(a->used, used);
		used = a->used;
	}
	/* To the limit: NULL, the others are what they were, and what is freed is had again. */
	for (made = 0; klp_shadow_alloc((void *)(made * 16ul), 7, 4000, NULL, NULL); made++)
		;
	ck_assert_uint_gt(made, 100);
	ck_assert_uint_eq(slots(KLP_SHADOW_READY), made);
	ck_assert_uint_eq(slots(KLP_SHADOW_BUILDING), 0);
	ck_assert_ptr_null(klp_shadow_get_or_alloc((void *)(made * 16ul), 7, 4000, NULL, NULL));
	klp_shadow_free((void *)16, 7, NULL);
	ck_assert_ptr_nonnull(klp_shadow_get_or_alloc((void *)(made * 16ul), 7, 4000, NULL, NULL));
	/* Sizes. */
	ck_assert_ptr_null(klp_shadow_alloc(&made, 8, KLP_SHADOW_VALUE_MAX + 1, NULL, NULL));
	ck_assert_ptr_null(klp_shadow_alloc(&made, 8, SIZE_MAX, NULL, NULL));
	area_drop();
	area_make(4 * KLP_SHADOW_AREA_MIN);
	ck_assert_ptr_nonnull(klp_shadow_alloc(&made, 8, 0, NULL, NULL));
	ck_assert_ptr_nonnull(klp_shadow_alloc(&made, 9, KLP_SHADOW_VALUE_MAX, NULL, NULL));
	area_drop();
}
END_TEST

/* Inside a callback, for the thread that runs it, the variable is not there. */
static int ctor_recursive(void *obj, void *data, void *arg)
{
	(void)data;
	(void)arg;
	ck_assert_ptr_null(klp_shadow_get(obj, 1));
	ck_assert_ptr_null(klp_shadow_get_or_alloc(obj, 1, 8, NULL, NULL));
	klp_shadow_free(obj, 1, dtor_count);
	klp_shadow_free_all(1, dtor_count);
	ck_assert_ptr_nonnull(klp_shadow_get_or_alloc(obj, 2, 8, NULL, NULL));
	return 0;
}
static void dtor_recursive(void *obj, void *data)
{
	(void)data;
	ck_assert_ptr_null(klp_shadow_get(obj, 1));
	ck_assert_ptr_null(klp_shadow_alloc(obj, 1, 8, NULL, NULL));
}
START_TEST(inside_callbacks)
{
	int obj;

	area_make(KLP_SHADOW_AREA_MIN);
	destroyed = 0;
	ck_assert_ptr_nonnull(klp_shadow_get_or_alloc(&obj, 1, 8, ctor_recursive, NULL));
	ck_assert_ptr_nonnull(klp_shadow_get(&obj, 1));
	ck_assert_ptr_nonnull(klp_shadow_get(&obj, 2));
	klp_shadow_free(&obj, 1, dtor_recursive);
	ck_assert_int_eq(destroyed, 0);
	ck_assert_ptr_null(klp_shadow_get(&obj, 1));
	area_drop();
}
END_TEST

/* ---- threads ---- */

static pthread_barrier_t gate;
static void run(void *(*fn)(void *))
{
	pthread_t t[THREADS];

	pthread_barrier_init(&gate, NULL, THREADS);
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, fn, (void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	pthread_barrier_destroy(&gate);
}

#define ROUNDS ROUNDS_OF(2000)
static void *seen[ROUNDS][THREADS];
static int ctor_slow(void *obj, void *data, void *arg)
{
	long *v = data;

	(void)arg;
	__atomic_fetch_add(&constructed, 1, __ATOMIC_RELAXED);
	v[0] = (long)obj;
	for (volatile int i = 0; i < 200; i++)
		;
	v[1] = (long)obj;
	return 0;
}
static void *race(void *me)
{
	for (uintptr_t i = 0; i < ROUNDS; i++) {
		const void *obj = (void *)(0x1000 + i * 16);
		const long *v;

		if (!(i % 100))
			pthread_barrier_wait(&gate);
		v = klp_shadow_get_or_alloc(obj, 5, 16, ctor_slow, NULL);
		/* Nobody sees a variable that is not finished. */
		ck_assert_ptr_nonnull(v);
		ck_assert_int_eq(v[0], (long)obj);
		ck_assert_int_eq(v[1], (long)obj);
		seen[i][(uintptr_t)me] = (void *)(uintptr_t)v;
	}
	return NULL;
}
START_TEST(one_object_for_all)
{
	area_make(8 * KLP_SHADOW_AREA_MIN);
	constructed = destroyed = 0;
	run(race);
	ck_assert_int_eq(constructed, ROUNDS);
	for (int i = 0; i < ROUNDS; i++)
		for (int k = 1; k < THREADS; k++)
			ck_assert_ptr_eq(seen[i][k], seen[i][0]);
	ck_assert_uint_eq(slots(KLP_SHADOW_READY), ROUNDS);
	klp_shadow_free_all(5, dtor_count);
	ck_assert_int_eq(destroyed, ROUNDS);
	area_drop();
}
END_TEST

#define CHURN ROUNDS_OF(3000)
/* Every thread makes, uses and frees its own; a few belong to all and are never missed by a get meanwhile. */
static void *churn(void *me)
{
	pthread_barrier_wait(&gate);
	for (uintptr_t i = 0; i < CHURN; i++) {
		const void *obj = (void *)(((uintptr_t)me << 20) + (i % 64) * 16);
		size_t size = 8 + (i % 5) * 40;
		uintptr_t *v = klp_shadow_alloc(obj, 3, size, NULL, NULL);
		const uintptr_t *common = klp_shadow_get((void *)(i % 32), 4);

		ck_assert_ptr_nonnull(v);
		ck_assert_ptr_nonnull(common);
		ck_assert_uint_eq(*common, i % 32);
		for (size_t k = 0; k < size / 8; k++) {
			ck_assert_uint_eq(v[k], 0);
			v[k] = (uintptr_t)obj;
		}
		ck_assert_ptr_eq(klp_shadow_get(obj, 3), v);
		for (size_t k = 0; k < size / 8; k++)
			ck_assert_uint_eq(v[k], (uintptr_t)obj);
		klp_shadow_free(obj, 3, dtor_count);
		ck_assert_ptr_null(klp_shadow_get(obj, 3));
	}
	return NULL;
}
START_TEST(churn_by_threads)
{
	area_make(8 * KLP_SHADOW_AREA_MIN);
	destroyed = 0;
	for (uintptr_t i = 0; i < 32; i++)
		*(uintptr_t *)klp_shadow_alloc((void *)i, 4, 8, NULL, NULL) = i;
	run(churn);
	ck_assert_int_eq(destroyed, THREADS * CHURN);
	ck_assert_uint_eq(slots(KLP_SHADOW_READY), 32);
	area_drop();
}
END_TEST

/* The same few variables made and freed by all: never two at once, never one that is half made. */
static int alive[4];
static int ctor_alive(void *obj, void *data, void *arg)
{
	(void)arg;
	ck_assert_int_eq(__atomic_add_fetch(&alive[(uintptr_t)obj], 1, __ATOMIC_SEQ_CST), 1);
	*(uintptr_t *)data = ~(uintptr_t)obj;
	return 0;
}
static void dtor_alive(void *obj, void *data)
{
	ck_assert_uint_eq(*(uintptr_t *)data, ~(uintptr_t)obj);
	ck_assert_int_eq(__atomic_sub_fetch(&alive[(uintptr_t)obj], 1, __ATOMIC_SEQ_CST), 0);
}
static void *fight(void *me)
{
	unsigned seed = (unsigned)(uintptr_t)me;

	pthread_barrier_wait(&gate);
	for (int i = 0; i < ROUNDS_OF(4000); i++) {
		const void *obj = (void *)(uintptr_t)(rand_r(&seed) & 3);

		if (rand_r(&seed) & 1)
			ck_assert_ptr_nonnull(klp_shadow_get_or_alloc(obj, 6, 8, ctor_alive, NULL));
		else if (rand_r(&seed) & 15)
			klp_shadow_free(obj, 6, dtor_alive);
		else
			klp_shadow_free_all(6, dtor_alive);
	}
	return NULL;
}
START_TEST(made_and_freed_by_all)
{
	area_make(KLP_SHADOW_AREA_MIN);
	run(fight);
	klp_shadow_free_all(6, dtor_alive);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(alive[i], 0);
	ck_assert_uint_eq(slots(KLP_SHADOW_FREE), KLP_SHADOW_TABLE_SLOTS(0));
	area_drop();
}
END_TEST

/* ---- signals ---- */

static volatile sig_atomic_t handled;
static void on_signal(int sig)
{
	const void *obj = (void *)(uintptr_t)(handled % 16 + 100);

	(void)sig;
	handled = handled + 1;
	if (!klp_shadow_get_or_alloc(obj, 6, 8, NULL, NULL))
		abort();
	klp_shadow_free(obj, 6, NULL);
}
START_TEST(in_signal_handlers)
{
	struct sigaction sa = {.sa_handler = on_signal};
	timer_t timer;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct itimerspec each = {{0, 50000}, {0, 50000}};

	area_make(KLP_SHADOW_AREA_MIN);
	sigaction(SIGUSR1, &sa, NULL);
	ck_assert_int_eq(timer_create(CLOCK_MONOTONIC, &ev, &timer), 0);
	timer_settime(timer, 0, &each, NULL);
	for (unsigned i = 0; handled < 2000; i++) {
		const void *obj = (void *)(uintptr_t)(i % 16 + 1);

		ck_assert_ptr_nonnull(klp_shadow_alloc(obj, 6, 8, NULL, NULL));
		klp_shadow_free(obj, 6, NULL);
	}
	timer_delete(timer);
	ck_assert_uint_eq(slots(KLP_SHADOW_READY), 0);
	area_drop();
}
END_TEST

/* ---- fork ---- */

static bool stop;
static void *busy(void *me)
{
	unsigned seed = (unsigned)(uintptr_t)me;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		const void *obj = (void *)(uintptr_t)(rand_r(&seed) & 7);

		klp_shadow_get_or_alloc(obj, 6, 8, ctor_slow, NULL);
		klp_shadow_free(obj, 6, dtor_count);
	}
	return NULL;
}
/* What a child of a program with busy threads must be able to do, whatever they were at. */
static int child(void)
{
	void *block[64];

	alarm(20);
	for (uintptr_t i = 0; i < 8; i++) {
		const long *v = klp_shadow_get_or_alloc((void *)i, 6, 16, ctor_slow, NULL);

		if (!v || v[0] != (long)i || v[1] != (long)i)
			return 1;
	}
	if (*(int *)klp_shadow_get(&stop, 1) != 42)
		return 2;
	klp_shadow_free_all(6, NULL);
	if (slots(KLP_SHADOW_READY) != 1 || slots(KLP_SHADOW_BUILDING) || slots(KLP_SHADOW_FREEING))
		return 3;
	/* No block is given out twice. */
	for (uintptr_t i = 0; i < 64; i++) {
		block[i] = klp_shadow_alloc((void *)i, 8, 16, NULL, NULL);
		for (uintptr_t k = 0; k < i; k++)
			if (!block[i] || block[k] == block[i])
				return 4;
	}
	return 0;
}
START_TEST(fork_at_any_moment)
{
	pthread_t t[4];

	area_make(KLP_SHADOW_AREA_MIN);
	*(int *)klp_shadow_alloc(&stop, 1, sizeof(int), NULL, NULL) = 42;
	stop = false;
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, busy, (void *)i);
	for (int i = 0; i < ROUNDS_OF(400); i++) {
		pid_t pid = fork();
		int status;

		if (!pid)
			_exit(child());
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "child %d: status 0x%x", i, status);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(*(int *)klp_shadow_get(&stop, 1), 42);
	ck_assert_uint_eq(slots(KLP_SHADOW_READY), 1);
	area_drop();
}
END_TEST

/* The lock held, and a variable under construction, at the very fork: put there as their holders leave them. */
START_TEST(fork_with_the_lock_held)
{
	struct klp_rt_shadow *a = area_make(KLP_SHADOW_AREA_MIN);
	int status, fresh;
	pid_t pid;

	ck_assert_ptr_nonnull(klp_rt_shadow_begin((void *)1, 6, 16, &fresh));
	ck_assert_int_eq(fresh, 1);
	a->lock = a->incarnations << 1;
	pid = fork();
	if (!pid) {
		const long *v;

		alarm(20);
		v = klp_shadow_get_or_alloc((void *)1, 6, 16, ctor_slow, NULL);
		_exit(!v || v[0] != 1 || klp_shadow_get((void *)1, 6) != v || slots(KLP_SHADOW_READY) != 1 || a->lock);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	/* The parent's are still held. */
	pid = fork();
	if (!pid) {
		((struct klp_rt_shadow_fork *)(void *)((char *)a + KLP_SHADOW_PAGE))->incarnation = a->lock >> 1;
		klp_shadow_get_or_alloc((void *)2, 6, 16, NULL, NULL);
		_exit(0);
	}
	usleep(200000);
	ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0); /* it waits, with signals blocked */
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	area_drop();
}
END_TEST

#ifndef __SANITIZE_THREAD__ /* makes a fork of it */
/* A child of vfork shares the memory: it is of the same incarnation. */
START_TEST(vfork_shares)
{
	const struct klp_rt_shadow *a = area_make(KLP_SHADOW_AREA_MIN);
	pid_t pid;
	int obj;

	ck_assert_ptr_nonnull(klp_shadow_alloc(&obj, 1, 8, NULL, NULL));
	pid = vfork();
	if (!pid) {
		klp_shadow_get_or_alloc(&obj, 2, 8, NULL, NULL);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_ptr_nonnull(klp_shadow_get(&obj, 2));
	ck_assert_uint_eq(a->incarnations, 1);
	area_drop();
}
END_TEST
#endif

int main(void)
{
	Suite *s = suite_create("shadow");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, kernel_semantics);
	tcase_add_test(t, many_and_limit);
	tcase_add_test(t, inside_callbacks);
	tcase_add_test(t, one_object_for_all);
	tcase_add_test(t, churn_by_threads);
	tcase_add_test(t, made_and_freed_by_all);
	tcase_add_test(t, in_signal_handlers);
	tcase_add_test(t, fork_at_any_moment);
	tcase_add_test(t, fork_with_the_lock_held);
#ifndef __SANITIZE_THREAD__
	tcase_add_test(t, vfork_shares);
#endif
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
