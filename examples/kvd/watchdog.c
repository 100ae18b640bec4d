/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the clock without a pause and remembers the longest time between two readings. The scheduler makes such gaps
 * too; what tells them apart is that the thread never sleeps of its own will, so a *voluntary* context switch means
 * that somebody stopped it.
 */
#include "kvd.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define GAP_MIN_NS 5000u
#define TICK_NS 1000000u

static _Atomic uint64_t longest_gap, longest_stop, stops;
static atomic_bool reset;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void note(_Atomic uint64_t *longest, uint64_t gap)
{
	if (gap > atomic_load_explicit(longest, memory_order_relaxed))
		atomic_store_explicit(longest, gap, memory_order_relaxed);
}

static void *spin(void *arg)
{
	uint64_t last = now_ns();
	struct rusage before, after;

	(void)arg;
	getrusage(RUSAGE_THREAD, &before);
	for (;;) {
		uint64_t now = now_ns();

		if (now - last >= GAP_MIN_NS) {
			getrusage(RUSAGE_THREAD, &after);
			if (atomic_exchange_explicit(&reset, false, memory_order_relaxed)) {
				atomic_store(&longest_gap, 0);
				atomic_store(&longest_stop, 0);
				atomic_store(&stops, 0);
			} else {
				note(&longest_gap, now - last);
				if (after.ru_nvcsw != before.ru_nvcsw) {
					note(&longest_stop, now - last);
					atomic_fetch_add(&stops, 1);
				}
			}
			before = after;
			now = now_ns();
		}
		last = now;
	}
	return NULL;
}

/* Cheap: sleeps a millisecond at a time and measures how late it wakes. It cannot tell a stop from a busy machine. */
static void *tick(void *arg)
{
	struct timespec ts = {0, TICK_NS};

	(void)arg;
	for (;;) {
		uint64_t start = now_ns(), took;

		clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
		took = now_ns() - start;
		if (atomic_exchange(&reset, false))
			atomic_store(&longest_gap, 0);
		note(&longest_gap, took > TICK_NS ? took - TICK_NS : 0);
	}
	return NULL;
}

bool watchdog_start(enum watchdog_mode mode)
{
	pthread_t t;

	if (mode == WATCHDOG_OFF)
		return true;
	return !pthread_create(&t, NULL, mode == WATCHDOG_SPIN ? spin : tick, NULL) && !pthread_detach(t);
}

void watchdog_reset(void)
{
	atomic_store(&reset, true);
}

void watchdog_read(struct watchdog_report *r)
{
	r->longest_gap_us = atomic_load(&longest_gap) / 1000;
	r->longest_stop_us = atomic_load(&longest_stop) / 1000;
	r->stops = atomic_load(&stops);
}
