#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Threads that never block are seen through perf, where the kernel permits it, and not stopped: one that is outside of what is being left moves
# at once, one that is inside stays and is named; with --no-samples, and where a picture does not reach, they are interrupted.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/x + 1/x + 2/' <<-'C'
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static atomic_int stay, spinning;

__attribute__((noinline)) int busy(int x)
{
	while (stay & 1)
		;
	return x + 1;
}

static void *inside(void *arg)
{
	busy(1);
	return arg;
}

static void *outside(void *arg)
{
	spinning = 1;
	while (stay & 2)
		;
	spinning = 0;
	return arg;
}

/* More stack than a picture holds. */
static void *deep(void *arg)
{
	volatile char room[40000];

	room[0] = room[sizeof(room) - 1] = 1;
	spinning = room[0];
	while (stay & 4)
		;
	spinning = 0;
	return arg;
}

int main(void)
{
	void *(*start[])(void *) = {NULL, inside, outside, NULL, deep};
	char line[64];
	pthread_t t;

	while (fgets(line, sizeof(line), stdin)) {
		int which = line[0] - '0';

		if (which > 0 && which < 5 && start[which]) {
			stay = which;
			if (pthread_create(&t, NULL, start[which], NULL))
				return 1;
			while (which > 1 && !spinning)
				;
		} else if (stay) {
			stay = 0;
			pthread_join(t, NULL);
		}
		printf("%d\n", stay & 1 ? 0 : busy(1));
		fflush(stdout);
	}
}
C
# Whether perf is permitted is not klp's to say: ask perf's own system call.
cat >"$work/permitted.c" <<-'C'
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
	struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE, .size = sizeof(a), .config = PERF_COUNT_SW_TASK_CLOCK,
				    .sample_period = 100000, .sample_type = PERF_SAMPLE_STACK_USER, .sample_stack_user = 1024,
				    .exclude_kernel = 1};
	return syscall(SYS_perf_event_open, &a, 0, -1, -1, 0) < 0;
}
C
${CC:-cc} "$work/permitted.c" -o "$work/permitted"
"$work/permitted" || skip "the kernel does not permit samples through perf here"
klp=$work/own.klp

# The borrows of a load or an unload stop the blocked main thread, and nobody stops another.
stops() { # ARGUMENTS...: a load and an unload
	ctl 0 load --json -p "$(p)" "$@" "$klp"
	stopped=$(result '[.threads_stopped, .longest_stop_us] | @sh')
	took=$(result .elapsed_us)
	ctl 0 unload --json -p "$(p)" "$@" own
	echo "$* load: $stopped, $took us; unload: $(result '[.threads_stopped, .longest_stop_us] | @sh'), $(result .elapsed_us) us"
	stopped=$(result .threads_stopped) # of the unload: the runtime is there, and the threads are the same
}
target t "$work/tree/prog"
expect 2 x
stops
alone=$stopped
expect 2 2
stops
[ "$stopped" -eq "$alone" ] || die "$stopped threads were stopped beside a spinning one, $alone without it"
stops --no-samples
[ "$stopped" -gt "$alone" ] || die "nobody was interrupted with --no-samples: $stopped stops"
expect 2 x

# A stack that no picture holds.
expect 2 4
stops
[ "$stopped" -gt "$alone" ] || die "a stack deeper than a picture was not proven by an interrupt: $stopped stops"
expect 2 x

# Inside the function that is being left, for three seconds: nobody but the main thread is stopped, and status names it.
expect 0 1
ctl 5 load --json -p "$(p)" --timeout 3 "$klp"
stopped=$(result .threads_stopped)
frames=$("$klpctl" stack --json -p "$(p)" | jq -r '[.processes[0].threads[] | select(.frames[].function == "busy")] | length') || die "stack failed"
[ "$frames" = 1 ] || die "klpctl stack shows $frames threads in busy"
blocker=$(result '.pending[0] | .function + " " + .reason')
[ "$blocker" = "busy ON_STACK" ] || die "the thread that blocks is told as '$blocker'"
[ "$stopped" -le $((alone + 2)) ] || die "$stopped threads were stopped while one stayed inside"
expect 3 x # the main thread has moved
ctl 0 load --json -p "$(p)" "$klp"
expect 3 x
