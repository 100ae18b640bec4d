#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A transition is reversed, and the reversal is reversed, many times, each time by another tool, now and then by a killed one. One thread sleeps in the old function and one
# in the new one, so neither direction can end; both stay where they are, and the others never meet two versions.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<'C'
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define VERSION 1

static int pipes[2][2];
static atomic_int inside[2], left[2];
static atomic_long rounds, mixed;

__attribute__((noipa)) int pair_a(int x)
{
	return x + VERSION;
}

__attribute__((noipa)) int pair_b(int x)
{
	return x + VERSION;
}

__attribute__((noipa)) int sleeper(int i)
{
	char c;

	atomic_store(&inside[i], VERSION);
	while (read(pipes[i][0], &c, 1) != 1)
		;
	return VERSION + pair_b(0) * 10;
}

static void *sleep_thread(void *arg)
{
	long i = (long)arg;

	atomic_store(&left[i], sleeper((int)i));
	for (;;)
		pause();
	return NULL;
}

static void *loop(void *arg)
{
	for (;; usleep(200)) {
		if (pair_a(0) != pair_b(0))
			atomic_fetch_add(&mixed, 1);
		atomic_fetch_add(&rounds, 1);
	}
	return arg;
}

int main(void)
{
	char line[64], word[16];
	pthread_t t;
	int i;

	for (int n = 0; n < 3; n++)
		if (pthread_create(&t, NULL, loop, NULL))
			return 1;
	if (pipe(pipes[0]) || pipe(pipes[1]))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		i = 0;
		if (sscanf(line, "%15s %d", word, &i) < 1 || i < 0 || i > 1)
			return 2;
		if (!strcmp(word, "sleep")) {
			inside[i] = left[i] = 0;
			if (pthread_create(&t, NULL, sleep_thread, (void *)(long)i))
				return 1;
			while (!inside[i])
				usleep(1000);
			printf("%d\n", inside[i]);
		} else if (!strcmp(word, "wake")) {
			if (write(pipes[i][1], "", 1) != 1)
				return 1;
			while (!left[i])
				usleep(1000);
			printf("%d\n", left[i]);
		} else if (!strcmp(word, "mixed")) {
			long from = rounds;

			while (rounds < from + 30)
				usleep(1000);
			printf("%ld\n", mixed);
		} else {
			printf("%d\n", pair_a(0) * 10 + pair_b(0));
		}
		fflush(stdout);
	}
}
C
target t "$work/tree/prog"
expect 11 both
expect 1 sleep 0
once() { # load|unload
	if [ "$1" = load ]; then
		ctl 5 load -v --json -p "$(p)" --timeout 0.3 "$work/own.klp"
		where=sleeper
	else
		ctl 5 unload -v --json -p "$(p)" --timeout 0.3 own
		where="sleeper [own]"
	fi
}
try() { # load|unload: it stays pending; whom it waits for is told
	local resumed
	once "$1"
	cp "$work/events" "$work/first"
	# A machine with more to do than processors may not have moved the others yet: the same command goes on.
	for ((resumed = 0; resumed < 50 && $(result '.pending | length') > 1; resumed++)); do
		once "$1"
	done
	cp "$work/first" "$work/events"
	expect_result 1 '.pending | length'
	expect_result "$where" '.pending[0].function'
	expect 0 mixed
}
try load
expect_status patching '.patches[0].transition.direction'
# Threads born in a transition belong to its target: this one sleeps in the new function.
expect 2 sleep 1
for ((i = 0; i < $(full 4 40); i++)); do
	try unload
	events "'own': reversing transition from patching to unpatching"
	expect_status unpatching '.patches[0].transition.direction'
	expect_status disabling '.patches[0].state'
	if ((i % 2)); then # a tool that dies as soon as it has begun to reverse
		"$klpctl" load -v --json -p "$(p)" "$work/own.klp" >/dev/null 2>"$work/killed" &
		tool=$!
		wait_for 10 grep -qs 'reversing transition' "$work/killed" || die "the tool reversed nothing"
		kill -KILL $tool
		wait $tool 2>/dev/null
	fi
	try load
	((i % 2)) || events "'own': reversing transition from unpatching to patching"
	expect_status patching '.patches[0].transition.direction'
	expect_status enabling '.patches[0].state'
done
# It ends with the direction that was asked for last, when the thread that is in the way leaves: in the version that it is in, as a whole.
expect 11 wake 0
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 22 both
expect 0 mixed
# And the other way round, from an unload, with the other thread.
try unload
expect 1 sleep 0
try load
try unload
try load
try unload
expect 22 wake 1
ctl 0 unload -v --json -p "$(p)" own
expect 11 both
expect 11 wake 0
expect 0 mixed
expect_status 0 '[.patches[] | select(.enabled or .transition != null)] | length'
