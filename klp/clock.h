/* SPDX-License-Identifier: Apache-2.0 */
/* The monotonic clock in nanoseconds, the clock of task starts, and short waits. */
#ifndef KLP_CLOCK_H
#define KLP_CLOCK_H

#include <errno.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

static inline uint64_t klp_clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* Of CLOCK_BOOTTIME, in the unit of a task's start (klp_task_start). */
static inline uint64_t klp_clock_ticks(void)
{
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * hz + (uint64_t)t.tv_nsec * hz / 1000000000ull;
}

/* Less than a second; a signal ends it. */
static inline void klp_clock_pause(uint64_t ns)
{
	const struct timespec t = {0, (long)ns};

	nanosleep(&t, NULL);
}

/* All of it, whatever signals come. */
static inline void klp_clock_sleep(uint64_t ns)
{
	struct timespec t = {(time_t)(ns / 1000000000ull), (long)(ns % 1000000000ull)};

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR)
		;
}

#endif
