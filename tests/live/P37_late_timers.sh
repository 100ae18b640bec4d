#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# On a machine whose timers are late (a virtual one that idles) every pause of the tool is longer than the gap in which it must see a timed call begin. It is borrowed all the
# same, and its calls end in time.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module fix 's/return x \* 10 + 1;/return x * 10 + 2;/' <<'C'
static int pre(void)
{
	note("run");
	callback_ends();
	return 0;
}
KLP_PRE_PATCH(pre);
C
coproc machine { exec "$build/bin/live_lateness"; }
others+=("$machine_PID")
for call in poll select; do
	target "$call" "$work/prog" --stdio
	ask timed "$call"
	echo >&"${machine[1]}"
	read -r REPLY <&"${machine[0]}"
	"$build/bin/live_oversleeps" "$(p)" "$work/fix.klp" >"$work/json" 2>"$work/events" || die "$call: not loaded"
	expect_result "done" .result
	expect run log
	expect 12 call answer 1
	sleep 2.6
	ask times
	read -r short late <<<"$REPLY"
	echo >&"${machine[1]}"
	read -r REPLY <&"${machine[0]}"
	echo "$call: at least $short us, at most $late us late; the machine $REPLY us"
	[ "$short" -ge 1200000 ] || die "$call ended early: $short us"
	[ "$late" -le $((20000 + 2 * REPLY)) ] || die "$call ended late: $late us, the machine $REPLY us"
	alive
done
