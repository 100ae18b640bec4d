#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# perf names the functions of patches, by `klpctl perfmap`, and its call chains by frame pointers go through them to the thread's start.
. "$(dirname "$0")/lib.sh"
begin
command -v perf >/dev/null || skip "perf is not installed"
own_program 's/VERSION 1/VERSION 2/;s,/\* added \*/,static __attribute__((noinline)) unsigned added(unsigned x) { return bottom(x) + 1; },;s/bottom(x) + VERSION/added(x) + VERSION/' \
	-fno-omit-frame-pointer <<-'C'
	#include <pthread.h>
	#include <stdio.h>
	#include <stdlib.h>

	#define VERSION 1
	#define NOINLINE __attribute__((noinline, noclone))

	static volatile unsigned sink;

	/* No patch replaces it; here is where the time goes. */
	NOINLINE unsigned bottom(unsigned x)
	{
		sink += __builtin_frame_address(0) == NULL; /* a leaf with a frame */
		for (int i = 0; i < 20000; i++)
			sink += x;
		return x;
	}

	/* added */
	NOINLINE unsigned inner(unsigned x)
	{
		for (int i = 0; i < 20000; i++)
			sink += x;
		return bottom(x) + VERSION;
	}

	NOINLINE unsigned outer(unsigned x)
	{
		return inner(x) * 10 + VERSION;
	}

	static void *worker(void *arg)
	{
		for (;;)
			sink = outer(0) + 1;
		return arg;
	}

	int main(void)
	{
		pthread_t t;
		char line[64];

		if (pthread_create(&t, NULL, worker, NULL))
			abort();
		while (fgets(line, sizeof(line), stdin)) {
			printf("%u\n", outer(0));
			fflush(stdout);
		}
		return 0;
	}
C
target t "$work/tree/prog"
expect 11 v
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 32 v
map=/tmp/perf-$(p).map # where perf looks for the names of anonymous code
end() {
	local status=$?
	rm -f "$map"
	(exit "$status")
	cleanup
}
trap end EXIT
(set -C && "$klpctl" perfmap -p "$(p)" >"$map") || die "klpctl perfmap"
perf record -q -e cpu-clock -c 2000000 --call-graph fp -o "$work/perf.data" -p "$(p)" -- sleep 1 >"$work/perf.log" 2>&1 ||
	skip "perf record is not permitted here: $(tail -1 "$work/perf.log")"
perf script -i "$work/perf.data" -F ip,sym 2>"$work/perf.log" | awk '/^$/ {if (chain) print chain; chain = ""; next} {$1 = ""; chain = chain $0}' |
	sort | uniq -c | sort -rn >"$work/chains"
[ -s "$work/chains" ] || skip "perf recorded nothing: $(tail -1 "$work/perf.log")"
head -3 "$work/chains"
grep -qE '[0-9]  inner \[own\] outer \[own\] worker start_thread' "$work/chains" || die "no chain from a replacement: $(cat "$work/chains")"
grep -qE '[0-9]  bottom added \[own\] inner \[own\] outer \[own\] worker start_thread' "$work/chains" ||
	die "no chain from a callee: $(cat "$work/chains")"
ctl 0 unload -v --json -p "$(p)" own
expect 11 v
