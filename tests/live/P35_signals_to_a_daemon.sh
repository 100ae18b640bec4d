#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SIGTERM at a random instant of loads and unloads: the daemon's wait says EINTR and it ends cleanly, every time; and nothing else ever ends its wait.
. "$(dirname "$0")/lib.sh"
begin
"$live/dynamic/target" --daemon >"$work/out" 2>&1 &
daemon=$!
others+=("$daemon")
wait_for 5 grep -qs ready "$work/out" || die "the daemon does not start"
spans "$modules/fix.klp" fix $daemon
kill -KILL $daemon
wait $daemon 2>/dev/null
others=()
for ((i = 0; i < $(full 40 1000); i++)); do
	rm -f "$work/out"
	"$live/dynamic/target" --daemon >"$work/out" 2>&1 &
	daemon=$!
	others+=("$daemon")
	wait_for 5 grep -qs ready "$work/out" || die "the daemon does not start"
	(
		"$klpctl" load -p $daemon "$modules/fix.klp"
		"$klpctl" unload -p $daemon fix
	) >"$work/tools" 2>&1 &
	tools=$!
	others+=("$tools")
	instant $((load_takes + unload_takes))
	kill -TERM $daemon
	end=$((SECONDS + 10))
	while kill -0 $daemon 2>/dev/null && [ $SECONDS -lt $end ]; do sleep 0.01; done
	kill -0 $daemon 2>/dev/null && die "round $i: SIGTERM was lost, the daemon still runs: $(grep -E '^(State|Threads|TracerPid|Sig|Shd)' "/proc/$daemon/status" | tr '\n\t' '; ') in $(cat "/proc/$daemon/syscall"); tools: $(tr '\n' ' ' <"$work/tools")"
	wait $daemon
	rc=$?
	[ $rc = 7 ] || die "round $i: the daemon ended with status $rc, expected 7 (3: its wait ended without a signal)"
	wait $tools
	others=()
done
