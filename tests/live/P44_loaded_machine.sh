#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# More runnable threads than processors. The engine itself is put off then; a thread that it has stopped must not wait for that (hazard B3). Figures: the stops that
# klpctl measured, and the longest gaps that the target's own threads saw, against a control run of the same length.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/x \* 10 + 1/x * 10 + 2/' <<'C'
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS 4

static atomic_long worst[THREADS], rounds[THREADS];

__attribute__((noipa)) int answer(int x)
{
	return x * 10 + 1;
}

static long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

/* Half of them sleep for a moment in each round, half of them only run. */
static void *thread(void *arg)
{
	long me = (long)arg, last = now_us();

	for (;; rounds[me]++) {
		long now;

		if (me % 2)
			usleep(500);
		answer((int)me);
		now = now_us();
		if (now - last > worst[me])
			worst[me] = now - last;
		last = now;
	}
	return arg;
}

int main(void)
{
	char line[64];
	pthread_t t;

	for (long i = 0; i < THREADS; i++)
		if (pthread_create(&t, NULL, thread, (void *)i))
			return 1;
	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "gap", 3)) { /* the longest since the last question */
			long most = 0;

			for (int i = 0; i < THREADS; i++) {
				long w = atomic_exchange(&worst[i], 0);

				most = w > most ? w : most;
			}
			printf("%ld\n", most);
		} else {
			printf("%d\n", answer(4));
		}
		fflush(stdout);
	}
}
C
n=$(full 6 200)
cpus=$(nproc)
target t "$work/tree/prog"
for ((i = 0; i < 3 * cpus; i++)); do
	(while :; do :; done) &
	others+=($!)
done
control_seconds=$(full 3 60)
ask gap
sleep "$control_seconds"
ask gap
control=$REPLY
began=$SECONDS
ask gap
for ((i = 0; i < n; i++)); do
	ctl 0 load --json --timeout 60 -p "$(p)" "$work/own.klp"
	expect 42 x
	echo "$(result .longest_stop_us) load" >>"$work/stops"
	ctl 0 unload --json --timeout 60 -p "$(p)" own
	expect 41 x
	echo "$(result .longest_stop_us) unload" >>"$work/stops"
done
ask gap
gap=$REPLY
sort -n "$work/stops" >"$work/sorted"
median=$(awk -v n=$n 'NR == n {print $1}' "$work/sorted")
longest=$(tail -1 "$work/sorted")
echo "$n pairs on $cpus processors with $((3 * cpus)) hogs, $((SECONDS - began)) s: stops of a thread median $median us, longest $longest us;" \
	"longest gap that a thread saw $gap us, without klp $control us"
[ "$median" -gt 0 ] || die "no stop was measured"
# Scheduling makes gaps of tens of milliseconds here, with or without klp; a thread that was left stopped shows above them.
[ "$gap" -le $((control * 4 + 200000)) ] || die "a thread of the target stood still for $gap us, $control us in the control run"
if chrt -f 1 true 2>/dev/null; then
	[ "$median" -le 1000 ] || die "half of all loads stopped a thread for more than $median us"
else
	echo "NOTE: no real-time priority here, so the engine waits for its turn like everybody; the stops were not judged"
fi
