#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The function that threads start with is patched. It is the outermost frame of the program's: a thread in it stays in its version to its end and is named, one that is
# born meanwhile begins in the new one, and one that ends is not waited for.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<'C'
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERSION 1
#define SLOTS 8

static struct slot {
	pthread_t thread;
	int pipe[2];
	atomic_int version;
} slot[SLOTS];
static atomic_long born, wrong;

__attribute__((noipa)) int helper(void)
{
	return VERSION;
}

/* What threads start with; its address is stored where new and old code and the C library find it. */
__attribute__((noipa)) void *begins(void *arg)
{
	struct slot *s = arg;
	char c;

	s->version = VERSION * 10 + helper();
	while (read(s->pipe[0], &c, 1) != 1)
		;
	return (void *)(long)(VERSION * 100 + s->version - VERSION * 10 + helper() * 10);
}

__attribute__((noipa)) void *short_life(void *arg)
{
	(void)arg;
	return (void *)(long)(VERSION * 10 + helper());
}

static void *births(void *arg)
{
	for (;; usleep(500)) {
		void *result;
		pthread_t t;

		if (pthread_create(&t, NULL, short_life, NULL) || pthread_join(t, &result))
			abort();
		if ((long)result != 11 && (long)result != 22)
			wrong++;
		born++;
	}
	return arg;
}

int main(void)
{
	char line[64], word[32];
	pthread_t t;
	void *result;
	int i;

	while (fgets(line, sizeof(line), stdin)) {
		long v = 0;

		i = 0;
		if (sscanf(line, "%31s %d", word, &i) < 1 || i < 0 || i >= SLOTS)
			return 2;
		if (!strcmp(word, "start")) {
			slot[i].version = 0;
			if (pipe(slot[i].pipe) || pthread_create(&slot[i].thread, NULL, begins, &slot[i]))
				return 1;
			while (!slot[i].version)
				usleep(1000);
			v = slot[i].version;
		} else if (!strcmp(word, "end")) {
			if (write(slot[i].pipe[1], "", 1) != 1 || pthread_join(slot[i].thread, &result))
				return 1;
			v = (long)result;
		} else if (!strcmp(word, "births")) {
			v = pthread_create(&t, NULL, births, NULL);
		} else if (!strcmp(word, "born")) {
			v = born;
		} else if (!strcmp(word, "wrong")) {
			v = wrong;
		} else {
			v = helper();
		}
		printf("%ld\n", v);
		fflush(stdout);
	}
}
C
target t "$work/tree/prog"
own() { # STATUS load|unload
	if [ "$2" = load ]; then ctl "$1" load -v --json --timeout "$3" -p "$(p)" "$work/own.klp"; else ctl "$1" unload -v --json --timeout "$3" -p "$(p)" own; fi
}
expect 11 start 0
expect 11 start 1
own 5 load 0.3
expect_result "begins begins" '[.pending[].function] | join(" ")'
expect 2 helper
expect 22 start 2
expect 22 start 3
expect 111 end 0
own 5 load 0.3
expect_result 1 '.pending | length'
expect 111 end 1 # ends: nothing is left to be waited for
own 0 load 20
expect_status enabled '.patches[0].state'
expect 222 end 2
# The other way round, reversed once.
own 5 unload 0.3
expect_result "begins [own]" '.pending[0].function'
expect 11 start 4
expect 1 helper
own 5 load 0.3
expect_result begins '.pending[0].function'
expect 22 start 5
expect 2 helper
own 5 unload 0.3
expect_result 2 '.pending | length'
expect 111 end 4
expect 222 end 3
expect 222 end 5
own 0 unload 20
expect 11 start 6
expect 111 end 6
# Threads that live for an instant are born all the time.
expect 0 births
for ((i = 0; i < $(full 5 100); i++)); do
	own 0 load 30
	expect 22 start 7
	own 5 unload 0.2
	expect 222 end 7
	own 0 unload 30
done
expect 0 wrong
ask born
[ "$REPLY" -gt 50 ] || die "only $REPLY threads were born"
