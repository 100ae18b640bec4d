/* SPDX-License-Identifier: Apache-2.0 */
/* The threads that open, call and close a patched object. It is open as long as one of them has it; a call has it. */
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include "shapes.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned users;
static void *object;
static __typeof__(&p_round) enter;

static void next_phase(struct torture_shared *s)
{
	__atomic_fetch_add(&s->plugin, 1, __ATOMIC_ACQ_REL);
}

static void take(struct worker *w)
{
	pthread_mutex_lock(&lock);
	if (!users++) {
		next_phase(w->shared);
		object = dlopen("./libplugin.so", RTLD_NOW);
		enter = object ? (__typeof__(enter))dlsym(object, "p_round") : NULL;
		if (!enter)
			_exit(3);
		next_phase(w->shared);
		torture_count(&w->shared->openings);
	}
	pthread_mutex_unlock(&lock);
}

static void release(struct worker *w)
{
	pthread_mutex_lock(&lock);
	if (!--users) {
		next_phase(w->shared);
		if (dlclose(object))
			torture_failed(w, 0);
		next_phase(w->shared);
	}
	pthread_mutex_unlock(&lock);
}

static bool wanted(struct worker *w, uint32_t order, bool has)
{
	switch (order % PHASE_COUNT) {
	case PLUGIN_CLOSED:
		return false;
	case PLUGIN_OPEN:
		return true;
	default:
		return torture_random(w) % 4 ? has : !has;
	}
}

void torture_plugin(struct worker *w)
{
	static const int how[] = {HOW_NOTHING, HOW_SPIN, HOW_SLEEP, HOW_READ};
	bool has = false;

	while (torture_go_on(w, false)) {
		uint32_t order = __atomic_load_n(&w->shared->order, __ATOMIC_ACQUIRE);

		if (wanted(w, order, has) != has) {
			has = !has;
			if (has)
				take(w);
			else
				release(w);
		}
		__atomic_store_n(&w->out->order, order, __ATOMIC_RELEASE);
		if (has)
			enter(w, how[torture_random(w) % 4], torture_block);
		torture_pause(w, 50 + (unsigned)torture_random(w) % 700);
	}
}
