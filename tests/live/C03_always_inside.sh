#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Threads that are always inside the functions being left, but return to their loops: asleep in one, or computing in one that calls another patched
# one all the time. A look from outside finds a frame of them almost always; at the door they are proven, within a second, and never meet
# two versions in one round. The same for a stack that a blocked thread does not show (frame pointers), when it makes its next call.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' -fno-omit-frame-pointer <<-'C'
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define VERSION 1
#define THREADS 6

static atomic_int version[THREADS];
static atomic_uint rounds[THREADS], mixed;

__attribute__((noinline)) int inner(int x)
{
	return x + VERSION;
}

/* 99.9 % of its thread's time. */
__attribute__((noinline)) int sleeps(int x)
{
	struct timespec t = {0, 3000000};

	nanosleep(&t, NULL);
	return inner(x) - x + VERSION;
}

__attribute__((noinline)) int computes(int x)
{
	int sum = 0;

	for (int i = 0; i < 20000; i++)
		sum += inner(x) - x;
	return sum / 20000 + VERSION;
}

static void *loop(void *arg)
{
	long me = (long)arg;

	for (unsigned r = 0;; r++) {
		int v = me % 2 ? computes((int)r & 7) : sleeps((int)r & 7);

		if (v & 1)
			atomic_fetch_add(&mixed, 1);
		atomic_store(&version[me], v / 2);
		atomic_fetch_add(&rounds[me], 1);
	}
	return arg;
}

__attribute__((noinline)) static void serve(size_t room)
{
	char *line = __builtin_alloca(room);
	int shown = 0;

	while (read(0, line, room) > 0) {
		char out[64];
		int least = 99, most = 0, len;

		for (int i = 0; i < THREADS; i++) {
			int v = atomic_load(&version[i]);

			least = v < least ? v : least;
			most = v > most ? v : most;
		}
		shown = inner(0);
		len = snprintf(out, sizeof(out), "main %d threads %d-%d mixed %u\n", shown, least, most, atomic_load(&mixed));
		if (write(1, out, (size_t)len) != len)
			abort();
	}
}

int main(int argc, char **argv)
{
	pthread_t thread;

	(void)argv;
	for (long i = 0; i < THREADS; i++)
		if (pthread_create(&thread, NULL, loop, (void *)i))
			return 1;
	for (int i = 0; i < THREADS; i++)
		while (!atomic_load(&rounds[i]))
			usleep(1000);
	serve(200 + (size_t)argc * 8);
}
C
target t "$work/tree/prog"
expect "main 1 threads 1-1 mixed 0" x
# The main thread waits in a frame that only its frame pointer would find; it comes to the door when it is asked something.
ask_all() {
	while [ ! -e "$work/enough" ]; do
		ask x
		sleep 0.05
	done
}
move() { # ACTION ARGUMENT VERSION
	rm -f "$work/enough"
	ask_all &
	asking=$!
	ctl 0 "$1" -v --json -p "$(p)" --timeout 1 "$2"
	touch "$work/enough"
	wait $asking
	sleep 0.2 # each has made a round since
	expect "main $3 threads $3-$3 mixed 0" x
	# The borrowed thread, mapping and helper; no thread was interrupted for a look at its stack a hundred times.
	[ "$(result .threads_stopped)" -le 12 ] || die "$(result .threads_stopped) threads were stopped"
}
for round in 1 2 3; do
	move load "$work/own.klp" 2
	echo "round $round: load $(result .elapsed_us) us"
	move unload own 1
	echo "round $round: unload $(result .elapsed_us) us"
done
