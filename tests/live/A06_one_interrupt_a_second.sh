#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A thread that stays in a function being left and never blocks: it is interrupted at most once a second, however long the load waits for it.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/x + 1/x + 2/' <<-'C'
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static atomic_int stay;

__attribute__((noinline)) int busy(int x)
{
	while (stay)
		;
	return x + 1;
}

static void *runner(void *arg)
{
	busy(1);
	return arg;
}

int main(void)
{
	char line[64];
	pthread_t t;

	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "stay", 4)) {
			stay = 1;
			if (pthread_create(&t, NULL, runner, NULL))
				return 1;
		} else if (!strncmp(line, "leave", 5)) {
			stay = 0;
			pthread_join(t, NULL);
		}
		printf("%d\n", stay ? 0 : busy(1));
		fflush(stdout);
	}
}
C
target t "$work/tree/prog"
expect 0 stay
seconds=3
ctl 5 load -v --json -p "$(p)" --no-samples --timeout $seconds "$work/own.klp"
stopped=$(result .threads_stopped)
echo "$stopped threads stopped in $seconds s"
# The load's own borrows, then one stop of the busy thread after 100 ms and one in each second.
most=$((4 + 1 + seconds))
[ "$stopped" -le $most ] || die "$stopped threads were stopped in $seconds s, at most $most were to be"
expect 3 leave
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 3 x
