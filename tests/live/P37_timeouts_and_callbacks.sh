#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A callback on a thread that waits with a relative timeout, and for most of that time: the call ends when it would have ended, not later, not earlier.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module fix 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(slow_pre_patch)
export GO=$work/go
target t "$work/prog" --stdio
ask timed
sleep 1.6
ask times
read -r shortest longest <<<"$REPLY"
echo "without a callback: $shortest to $longest us"
[ "$shortest" -ge 700000 ] || die "poll() is early by itself: $shortest us"
for _ in 1 2; do
	rm -f "$GO"
	"$klpctl" load -v --json -p "$(p)" "$work/fix.klp" >"$work/json" 2>"$work/events" &
	others=($!)
	wait_for 10 runs || die "the callback did not begin"
	sleep 0.5
	touch "$GO"
	wait "${others[0]}" || die "the load failed"
	others=()
	expect_result true '.callbacks[0].us > 400000'
	unload fix
done
sleep 1.6
ask times
read -r short long <<<"$REPLY"
echo "with callbacks: $short to $long us"
[ "$short" -ge 700000 ] || die "a call ended early: $short us"
[ "$long" -le $((longest + 200000)) ] || die "a call ended late: $long us, without a callback $longest us"
alive
