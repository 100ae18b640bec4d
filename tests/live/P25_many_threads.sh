#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Thousands of threads, most of them asleep, some at work in what is patched: every one is proven, none meets two versions, the stops are as few as ever.
. "$(dirname "$0")/lib.sh"
begin
n=$(full 1000 10000)
[ "$(ulimit -u)" = unlimited ] || [ "$(ulimit -u)" -gt $((n + 2000)) ] || skip "no $n threads may be made here"
[ "$(cat /proc/sys/kernel/threads-max)" -gt $((n + 5000)) ] || skip "the kernel has no $n threads"
own_program 's/VERSION 1/VERSION 2/' "-DTHREADS=$n" <<'C'
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERSION 1

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static unsigned long turn;
static atomic_int alive, answered, held, free_to_go;
static int hold;
static atomic_long mixed, seen[3];

__attribute__((noipa)) int pair_a(void)
{
	return VERSION;
}

__attribute__((noipa)) int pair_b(void)
{
	return VERSION;
}

/* Inside until it is let go. */
__attribute__((noipa)) int holder(void)
{
	int a = pair_a();

	held++;
	while (!free_to_go)
		usleep(1000);
	return a == pair_b() ? VERSION : -1;
}

static void check(void)
{
	int a = pair_a(), b = pair_b();

	if (a != b)
		mixed++;
	seen[a]++;
}

static void *thread(void *arg)
{
	unsigned long mine = 0;

	alive++;
	if ((long)arg < 4) /* always at work */
		for (;; usleep(1000))
			check();
	for (;;) {
		pthread_mutex_lock(&lock);
		while (turn == mine)
			pthread_cond_wait(&cond, &lock);
		mine = turn;
		pthread_mutex_unlock(&lock);
		if (hold && (long)arg >= 4 && (long)arg < 4 + hold) {
			if (holder() < 0)
				mixed++;
		}
		check();
		answered++;
	}
	return arg;
}

int main(void)
{
	char line[64];
	pthread_attr_t a;
	pthread_t t;

	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 65536);
	for (long i = 0; i < THREADS; i++)
		if (pthread_create(&t, &a, thread, (void *)i)) {
			printf("%ld\n", i);
			fflush(stdout);
			break;
		}
	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "hold", 4)) { /* three of them go inside, all others make a call */
			hold = 3;
			held = free_to_go = answered = 0;
			pthread_mutex_lock(&lock);
			turn++;
			pthread_cond_broadcast(&cond);
			pthread_mutex_unlock(&lock);
			while (held < hold || answered < THREADS - 4 - hold)
				usleep(1000);
			printf("%d\n", (int)held);
		} else if (!strncmp(line, "free", 4)) {
			free_to_go = 1;
			while (answered < THREADS - 4)
				usleep(1000);
			hold = 0;
			printf("0\n");
		} else if (!strncmp(line, "all", 3)) { /* each makes a call: which versions were seen */
			seen[1] = seen[2] = 0;
			answered = 0;
			pthread_mutex_lock(&lock);
			turn++;
			pthread_cond_broadcast(&cond);
			pthread_mutex_unlock(&lock);
			while (answered < THREADS - 4)
				usleep(1000);
			printf("%s%s mixed %ld\n", seen[1] ? "old" : "", seen[2] ? "new" : "", (long)mixed);
		} else {
			while (alive < THREADS)
				usleep(1000);
			printf("%d\n", (int)alive);
		}
		fflush(stdout);
	}
}
C
export ASK_TIMEOUT=120
target t "$work/tree/prog"
expect "$n" x
expect "old mixed 0" all
for ((i = 0; i < 2; i++)); do
	expect 3 hold
	ctl 5 load -v --json --timeout 1 -p "$(p)" "$work/own.klp"
	expect_result "holder holder holder" '[.pending[].function] | join(" ")'
	expect 0 free
	ctl 0 load -v --json --timeout 120 -p "$(p)" "$work/own.klp"
	[ "$(result .threads)" -ge "$n" ] || die "only $(result .threads) threads were looked at"
	[ "$(result .threads_stopped)" -le 12 ] || die "$(result .threads_stopped) of $n threads were stopped"
	expect_result 0 .early_returns
	echo "load of $n threads: $(result .elapsed_us) us, $(result .threads_stopped) stopped, longest $(result .longest_stop_us) us"
	expect "new mixed 0" all
	expect 3 hold
	ctl 5 unload -v --json --timeout 1 -p "$(p)" own
	expect_result 3 '.pending | length'
	expect 0 free
	ctl 0 unload -v --json --timeout 120 -p "$(p)" own
	echo "unload: $(result .elapsed_us) us"
	expect "old mixed 0" all
done
