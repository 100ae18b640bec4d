/* SPDX-License-Identifier: Apache-2.0 */
/* What the threads do: a loop of rounds, each with its own way to wait inside and outside of them. */
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shapes.h"

#define BORN 4        /* threads that are born at once */
#define BORN_ROUNDS 8 /* of each */
#define SPIN_TURNS 1500
#define CHILD_ROUNDS 6
#define CHURN_SIZE (256u << 10)

__thread struct worker *torture_self;

bool torture_go_on(struct worker *w, bool storm)
{
	struct torture_shared *s = w->shared;

	w->out->rounds++;
	for (;;) {
		uint32_t mode = __atomic_load_n(&s->mode, __ATOMIC_ACQUIRE);

		if (mode == TORTURE_QUIT)
			return false;
		if (mode == TORTURE_STORM || (mode == TORTURE_CALM && !storm))
			return true;
		__atomic_fetch_add(&s->parked, 1, __ATOMIC_ACQ_REL);
		while (__atomic_load_n(&s->mode, __ATOMIC_ACQUIRE) == mode)
			torture_futex_wait(&s->mode, mode);
		__atomic_fetch_sub(&s->parked, 1, __ATOMIC_ACQ_REL);
	}
}

static void a_group(struct worker *w, unsigned group, int how)
{
	switch (group) {
	case TORTURE_A:
		a_round(w, how);
		break;
	case TORTURE_B:
		b_round(w, how);
		break;
	case TORTURE_C:
		c_round(w, how);
		break;
	default:
		l_round(w, how, torture_block);
		break;
	}
}

static void some_round(struct worker *w, int how)
{
	a_group(w, torture_random(w) % TORTURE_RESIDENT, how);
	if (w->child) { /* it was born in there */
		for (unsigned i = 0; i < CHILD_ROUNDS; i++)
			a_group(w, i % TORTURE_RESIDENT, HOW_NOTHING);
		_exit(0);
	}
}

/* Blocks half of the time in there, half of the time here. */
static void waiting(struct worker *w, int how)
{
	while (torture_go_on(w, false)) {
		some_round(w, torture_random(w) & 1 ? how : HOW_NOTHING);
		torture_block(w, how);
	}
}

/*
 * Runs for tens of milliseconds at a time. With as many of these as there are processors, and none of them ever
 * sleeping, Linux 6.18 gives its own threads no turn for minutes, and one that holds the lock of the C library's file
 * (kdamond) keeps every fork, exec and exit of the machine waiting.
 */
static void spinning(struct worker *w)
{
	unsigned turns = 0;

	while (torture_go_on(w, true)) {
		for (unsigned i = 0; i < 16; i++)
			some_round(w, HOW_NOTHING);
		for (volatile unsigned n = (unsigned)torture_random(w) % 20000; n;)
			n = n - 1;
		if (++turns % SPIN_TURNS == 0)
			torture_pause(w, 3000);
	}
}

static void recursing(struct worker *w)
{
	while (torture_go_on(w, false)) {
		w->recursion = (unsigned)torture_random(w) % 150;
		b_round(w, torture_random(w) & 3 ? HOW_SLEEP : HOW_NOTHING);
		w->recursion = 2;
		some_round(w, HOW_NOTHING);
		torture_pause(w, 500);
	}
}

static void holding(struct worker *w)
{
	while (torture_go_on(w, false)) {
		uint32_t hold = __atomic_load_n(&w->shared->hold, __ATOMIC_ACQUIRE);

		if (hold)
			a_group(w, (hold - 1) % TORTURE_RESIDENT, HOW_HOLD);
		else
			torture_futex_wait(&w->shared->hold, 0);
	}
}

static void forking(struct worker *w, int how)
{
	while (torture_go_on(w, false)) {
		some_round(w, how);
		torture_pause(w, 3000);
	}
}

static void *born(void *arg)
{
	struct worker *w = arg;

	torture_self = w;
	w->out->tid = (uint32_t)gettid();
	for (unsigned i = 0; i < BORN_ROUNDS; i++)
		some_round(w, i == 3 ? HOW_SLEEP : HOW_NOTHING);
	w->out->rounds++;
	return NULL;
}

/* Stacks of our own, so that the C library keeps no mappings of threads that have gone. */
static void spawning(struct worker *w, struct worker *child, char *stacks, size_t size)
{
	while (torture_go_on(w, true)) {
		pthread_t thread[BORN];
		pthread_attr_t attr;
		int rc = 0;

		for (unsigned i = 0; i < BORN; i++) {
			pthread_attr_init(&attr);
			pthread_attr_setstack(&attr, stacks + i * size, size);
			rc |= pthread_create(&thread[i], &attr, born, &child[i]);
			pthread_attr_destroy(&attr);
		}
		if (rc)
			_exit(3);
		for (unsigned i = 0; i < BORN; i++)
			pthread_join(thread[i], NULL);
		__atomic_fetch_add(&w->shared->births, BORN, __ATOMIC_RELAXED);
		some_round(w, HOW_NOTHING);
		torture_pause(w, 4000);
	}
}

static void churning(struct worker *w)
{
	while (torture_go_on(w, false)) {
		char *p = mmap(NULL, CHURN_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		void *object;

		if (p == MAP_FAILED) {
			torture_failed(w, errno);
			continue;
		}
		p[0] = p[CHURN_SIZE - 1] = 1;
		if (mprotect(p + 4096, 4096, PROT_READ))
			torture_failed(w, errno);
		some_round(w, HOW_SLEEP);
		object = dlopen("./spare.so", RTLD_NOW);
		if (!object)
			torture_failed(w, 0);
		some_round(w, HOW_NOTHING);
		if (object)
			dlclose(object);
		if (munmap(p, CHURN_SIZE))
			torture_failed(w, errno);
		torture_count(&w->shared->mappings);
		torture_pause(w, 1000);
	}
}

static void writing(struct worker *w)
{
	while (torture_go_on(w, false)) {
		some_round(w, HOW_WRITE);
		torture_block(w, HOW_WRITE);
		torture_pause(w, 2000);
	}
}

/* Slowly, so that the writer blocks. */
static void draining(struct worker *w, struct worker *writer)
{
	for (;;) {
		ssize_t n = read(writer->stream[0], w->buffer, 20000);

		if (n < 0)
			torture_failed(w, errno);
		torture_pause(w, 50);
	}
}

static void on_signal(int sig)
{
	struct worker *w = torture_self;
	int err = errno;

	(void)sig;
	torture_count(&w->shared->signals);
	a_group(w, torture_random(w) % TORTURE_RESIDENT, torture_random(w) % 8 || w->armed ? HOW_SPIN : HOW_SLEEP);
	if (w->armed && torture_random(w) % 4 == 0)
		siglongjmp(w->home, 1);
	errno = err;
}

void torture_signals_init(void)
{
	struct sigaction s = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};

	sigemptyset(&s.sa_mask);
	sigaction(SIGUSR1, &s, NULL);
}

/* Waits only in ways that a handler with SA_RESTART does not end. */
static void signalled(struct worker *w)
{
	static const int how[] = {HOW_READ, HOW_FUTEX, HOW_SPIN, HOW_NOTHING};

	while (torture_go_on(w, true)) {
		int h = how[torture_random(w) % 4];

		some_round(w, h);
		torture_block(w, how[torture_random(w) % 4]);
	}
}

/* Leaves the rounds by siglongjmp, of its own will or out of a handler at any instant. */
static void jumping(struct worker *w)
{
	uint32_t depth[TORTURE_GROUPS];

	while (torture_go_on(w, true)) {
		memcpy(depth, (const void *)w->depth, sizeof(depth));
		if (!sigsetjmp(w->home, 1)) {
			w->armed = true;
			for (unsigned i = 0; i < 64; i++)
				some_round(w, i == 60 ? HOW_JUMP : HOW_SPIN);
		} else {
			torture_count(&w->shared->jumps);
		}
		w->armed = false;
		memcpy((void *)w->depth, depth, sizeof(depth));
		torture_block(w, HOW_READ);
	}
}

static void feed(struct worker *w)
{
	uint64_t m[2] = {w->sent + 1, ~(w->sent + 1)}, one = 1;

	if (write(w->message[1], m, sizeof(m)) == sizeof(m))
		w->sent++;
	if (write(w->event, &one, sizeof(one)) != sizeof(one) && errno != EAGAIN)
		torture_failed(torture_self, errno);
	__atomic_fetch_add(&w->word, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &w->word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Feeds also while the others park: one that waits for food parks only then. */
static void feeding(struct worker *w)
{
	unsigned next = 0;

	for (;;) {
		torture_pause(w, 400);
		for (unsigned i = 0; i < 4; i++) {
			struct worker *x = &torture_worker[next++ % torture_workers];
			uint32_t mode = __atomic_load_n(&w->shared->mode, __ATOMIC_RELAXED);
			bool idle = x->out->kind == KIND_IDLE || x->out->kind == KIND_MAIN;

			if (!idle || mode == TORTURE_PARK || mode == TORTURE_QUIT || torture_random(w) % 64 == 0)
				feed(x);
		}
	}
}

static void signalling(struct worker *w)
{
	while (torture_go_on(w, true)) {
		for (unsigned i = 0; i < torture_workers; i++) {
			const struct torture_worker *x = torture_worker[i].out;

			uint32_t tid = __atomic_load_n(&x->tid, __ATOMIC_ACQUIRE);

			if ((x->kind != KIND_SIGNALLED && x->kind != KIND_JUMP) || !tid) /* it has not begun yet */
				continue;
			if (syscall(SYS_tgkill, getpid(), tid, SIGUSR1))
				torture_failed(w, errno);
			torture_pause(w, 50 + (unsigned)torture_random(w) % 500);
		}
	}
}

static void run(struct worker *w)
{
	switch (w->out->kind) {
	case KIND_READ:
	case KIND_MAIN:
	case KIND_IDLE:
		waiting(w, HOW_READ);
		break;
	case KIND_FUTEX:
		waiting(w, HOW_FUTEX);
		break;
	case KIND_EPOLL:
		waiting(w, HOW_EPOLL);
		break;
	case KIND_SLEEP:
		waiting(w, HOW_SLEEP);
		break;
	case KIND_RECURSE:
		recursing(w);
		break;
	case KIND_HOLD:
		holding(w);
		break;
	case KIND_FORK:
		forking(w, HOW_FORK);
		break;
	case KIND_EXEC:
		forking(w, HOW_EXEC);
		break;
	case KIND_CHURN:
		churning(w);
		break;
	case KIND_PLUGIN:
		torture_plugin(w);
		break;
	case KIND_WRITE:
		writing(w);
		break;
	case KIND_SPIN:
		spinning(w);
		break;
	case KIND_SIGNALLED:
		signalled(w);
		break;
	case KIND_JUMP:
		jumping(w);
		break;
	case KIND_SPAWN: /* the born follow it in the array */
		spawning(w, w + 1, w->buffer, 64u << 10);
		break;
	case KIND_FEEDER:
		feeding(w);
		break;
	case KIND_DRAIN:
		draining(w, w - 1);
		break;
	case KIND_SIGNALLER:
		signalling(w);
		break;
	default:
		break;
	}
}

void *torture_shape(void *arg)
{
	struct worker *w = arg;
	char name[16];
	static const char *const kind[KIND_COUNT] = {
	    "main",  "read",   "futex", "epoll", "sleep",     "idle", "recurse", "hold",   "fork",  "spawn",    "exec",
	    "churn", "plugin", "write", "spin",  "signalled", "jump", "born",    "feeder", "drain", "signaller"};

	torture_self = w;
	strncpy(name, kind[w->out->kind], sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	if (w->out->kind != KIND_MAIN)
		pthread_setname_np(pthread_self(), name);
	/* Every second one takes its signals on a stack of its own. */
	if ((w->out->kind == KIND_SIGNALLED || w->out->kind == KIND_JUMP) && (w - torture_worker) % 2) {
		stack_t s = {.ss_sp = w->buffer, .ss_size = 32u << 10};

		if (sigaltstack(&s, NULL))
			torture_failed(w, errno);
	}
	__atomic_store_n(&w->out->tid, (uint32_t)gettid(), __ATOMIC_RELEASE); /* from now on it is sent signals */
	run(w);
	return NULL;
}
