#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Threads that are in the vDSO nearly all their time. It is unwound through by its own tables: one whose caller is not patched moves, one that a patched function
# keeps there stays and that function is named.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<'C'
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define VERSION 1

static atomic_int stop, left, inside;
static atomic_long ticks;

__attribute__((noipa)) int answer(int x)
{
	return x * 10 + VERSION;
}

/* Not patched: its thread never comes to a patched function. */
__attribute__((noipa)) void *clocks(void *arg)
{
	struct timespec t;

	for (;;) {
		for (int i = 0; i < 1000; i++)
			clock_gettime(CLOCK_MONOTONIC, &t);
		ticks++;
	}
	return arg;
}

__attribute__((noipa)) int patched_clocks(void)
{
	struct timespec t;

	inside = VERSION;
	while (!stop)
		for (int i = 0; i < 1000; i++)
			clock_gettime(CLOCK_MONOTONIC, &t);
	return VERSION + answer(0) * 10;
}

static void *patched_thread(void *arg)
{
	left = patched_clocks();
	for (;;)
		pause();
	return arg;
}

int main(void)
{
	char line[64];
	pthread_t t;

	while (fgets(line, sizeof(line), stdin)) {
		long v = 0;

		if (!strncmp(line, "clocks", 6)) {
			v = pthread_create(&t, NULL, clocks, NULL);
		} else if (!strncmp(line, "enter", 5)) {
			stop = left = inside = 0;
			if (pthread_create(&t, NULL, patched_thread, NULL))
				return 1;
			while (!inside)
				usleep(1000);
			v = inside;
		} else if (!strncmp(line, "leave", 5)) {
			stop = 1;
			while (!left)
				usleep(1000);
			v = left;
		} else if (!strncmp(line, "ticks", 5)) {
			v = ticks;
		} else {
			v = answer(4);
		}
		printf("%ld\n", v);
		fflush(stdout);
	}
}
C
target t "$work/tree/prog"
own() { # STATUS load|unload TIMEOUT
	if [ "$2" = load ]; then ctl "$1" load -v --json --timeout "$3" -p "$(p)" "$work/own.klp"; else ctl "$1" unload -v --json --timeout "$3" -p "$(p)" own; fi
}
expect 0 clocks
for ((i = 0; i < $(full 4 100); i++)); do
	own 0 load 20
	expect 42 x
	expect_result 0 .early_returns
	own 0 unload 20
	expect_result false .memory_left
	expect 41 x
done
ask ticks
# shellcheck disable=SC2034 # used where wait_for evaluates it
ticks=$REPLY
wait_for 10 eval 'ask ticks; [ "$REPLY" -gt $ticks ]' || die "the thread stands still"
expect 1 enter
own 5 load 1
expect_result "patched_clocks" '[.pending[] | select(.function != null) | .function] | join(" ")'
expect 42 x
expect 11 leave
own 0 load 20
expect 2 enter
own 5 unload 1
expect_result "patched_clocks [own]" '[.pending[] | select(.function != null) | .function] | join(" ")'
expect 41 x
expect 22 leave
own 0 unload 20
expect 41 x
