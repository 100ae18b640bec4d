#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The C library opens libgcc_s for the first backtrace() or pthread_cancel(), which may come behind the load: the next load, though it finds its
# patch there already, or `klpctl watch` tells it of the module's frames. Until then a backtrace ends at one.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<-'C'
	#include <execinfo.h>
	#include <stdio.h>

	#define VERSION 1

	/* The frames of a call, up to main and its start. */
	__attribute__((noinline)) static int depth(void)
	{
		void *frame[64];

		return backtrace(frame, 64);
	}

	static int nothing(void)
	{
		return 0;
	}

	__attribute__((noinline)) int through(int (*fn)(void))
	{
		return fn() * 10 + VERSION;
	}

	int main(void)
	{
		char line[64];

		while (fgets(line, sizeof(line), stdin)) {
			printf("%d\n", through(line[0] == 'b' ? depth : nothing));
			fflush(stdout);
		}
		return 0;
	}
C
here() { grep -q libgcc_s "/proc/$(p)/maps"; }
late() { ! here || die "the unwinder is there already"; }
target plain "$work/tree/prog"
ask b
frames=${REPLY%?}
[ "$frames" -ge 4 ] || die "backtrace() sees $frames frames without a patch"

target t "$work/tree/prog"
late
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
ask b
[ "${REPLY%?}" -lt "$frames" ] || die "the unwinder came with this call and saw ${REPLY%?} frames: nothing is tested here"
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect_result skipped .result
expect "${frames}2" b
ctl 0 unload -v --json -p "$(p)" own
expect "${frames}1" b
expect_result false .memory_left

target watched "$work/tree/prog"
late
"$klpctl" watch -v -p "$(p)" --interval 0.05 "$work/own.klp" >"$work/watch" 2>&1 &
others+=($!)
sees() { ask b && [ "$REPLY" = "$1" ]; }
wait_for 20 sees "${frames}2" || die "backtraces of the watched process end early: $REPLY, expected ${frames}2; $(cat "$work/watch")"

# What is refused is refused once more for the unwinder's sake, which is not worth a second event.
sed 's/VERSION 1/VERSION 3/' "$work/a/prog.c" >"$work/b/prog.c"
(cd "$work" && diff -u a/prog.c b/prog.c) >"$work/other.diff"
mkdir "$work/other"
"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t ./prog "$work/other.diff" -o "$work/other/own.klp" >"$work/log" 2>&1 ||
	die "klp-build: $(tail -3 "$work/log")"
target refused "$work/tree/prog"
late
ctl 0 load -v --json -p "$(p)" "$work/other/own.klp"
"$klpctl" watch --json -p "$(p)" --interval 0.05 "$work/own.klp" >"$work/watch" 2>&1 &
others+=($!)
told() { [ "$(jq -s length "$work/watch")" = "$1" ]; }
wait_for 20 told 1 || die "the refusal is not told: $(cat "$work/watch")"
ask b
here || die "the unwinder has not come"
sleep 0.5
told 1 || die "a refusal is told more than once: $(cat "$work/watch")"
[ "$(jq -r .result.result "$work/watch")" = refused ] || die "it was not refused: $(cat "$work/watch")"
