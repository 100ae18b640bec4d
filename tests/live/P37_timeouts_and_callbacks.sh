#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A callback on a thread that waits with a relative timeout, and for most of that time: the call ends when it would have ended, not later than anybody on this
# machine was late meanwhile, not earlier.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module fix 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(slow_pre_patch)
export GO=$work/go
coproc machine { exec "$build/bin/live_lateness"; }
others+=("$machine_PID")
machine_was_late() { # us since the last question, in $REPLY
	echo >&"${machine[1]}"
	read -r REPLY <&"${machine[0]}"
}
for call in poll select; do
	target "$call" "$work/prog" --stdio
	ask timed "$call"
	machine_was_late
	for _ in 1 2; do
		rm -f "$GO"
		# The callback is to end before the call does: it begins soon behind it.
		wait_for 5 eval 'ask timed_for; [ "$REPLY" -lt 200 ]' || die "no call begins"
		"$klpctl" load -v --json -p "$(p)" "$work/fix.klp" >"$work/json" 2>"$work/events" &
		others+=($!)
		wait_for 10 runs || { "$klpctl" status --json -p "$(p)" && "$klpctl" stack -p "$(p)"; die "the callback did not begin"; }
		sleep 0.5
		touch "$GO"
		wait "${others[-1]}" || die "the load failed"
		unset 'others[-1]'
		expect_result true '.callbacks[0].us > 400000'
		unload fix
	done
	sleep 2.6
	ask times
	read -r short late <<<"$REPLY"
	machine_was_late
	echo "$call with callbacks: at least $short us, at most $late us late; the machine $REPLY us"
	[ "$short" -ge 1200000 ] || die "$call ended early: $short us"
	[ "$late" -le $((200000 + 2 * REPLY)) ] || die "$call ended late: $late us, the machine $REPLY us"
	alive
done
