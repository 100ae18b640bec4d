#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Signals that come while a callback runs are handled behind it: one with SA_RESTART does not end the program's call, one without it does (A2).
# SIGSTOP stops it like everything else, until SIGCONT.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module fix 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(slow_pre_patch)
export GO=$work/go
target t "$work/prog"
for case in "USR1:begin end signal" "USR2:begin end other-signal EINTR"; do
	rm -f "$GO"
	"$klpctl" load -v --json -p "$(p)" "$work/fix.klp" >"$work/json" 2>"$work/events" &
	others=($!)
	wait_for 10 runs || die "the callback did not begin"
	kill -"${case%%:*}" "$(p)"
	sleep 0.1
	touch "$GO"
	wait "${others[0]}" || die "the load failed"
	others=()
	expect "${case#*:}" log
	expect 42 call answer 4
	expect_result 0 .early_returns
	expect_result true '.callbacks[0].us > 90000 and .longest_stop_us < 90000'
	unload fix
	expect undone log
done
rm -f "$GO"
"$klpctl" load -v --json -p "$(p)" "$work/fix.klp" >"$work/json" 2>"$work/events" &
others=($!)
wait_for 10 runs || die "the callback did not begin"
kill -STOP "$(p)"
touch "$GO"
sleep 0.3
runs || die "the callback went on in a stopped process"
kill -CONT "$(p)"
wait "${others[0]}" || die "the load failed"
others=()
expect "begin end" log
expect 42 call answer 4
unload fix
expect undone log
alive
