#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# B36: an interrupted build leaves the source tree as it was, no work directory and no process.
# shellcheck source=tests/build/lib.sh
. "$(dirname "$0")/lib.sh"
begin
case_setup B01
tree_state "$tree" >"$scratch/state.before"
for signal in INT TERM HUP; do
	mark=$scratch/started.$signal
	# The build leaves a process behind that ignores SIGTERM.
	cat >"$scratch/build" <<-END
	make -s main.o
	(trap '' TERM; exec sh -c 'echo \$\$ >$mark.new; mv $mark.new $mark; exec sleep 300') &
	wait
	END
	"$klp_build" -s "$tree" -b "sh $scratch/build" -t server -o "$scratch/fix.klp" "${diffs[@]}" >"$scratch/out" 2>&1 &
	pid=$!
	for _ in {1..200}; do
		[ -e "$mark" ] && break
		sleep 0.05
	done
	[ -e "$mark" ] || fail "$signal: the build did not start: $(cat "$scratch/out")"
	kill -s "$signal" "$pid"
	status=0
	wait "$pid" || status=$?
	[ "$status" -eq $((128 + $(kill -l "$signal"))) ] || fail "$signal: exit status $status"
	nothing_left "$signal"
	if kill -0 "$(cat "$mark")" 2>/dev/null; then
		fail "$signal: the build's process is still there"
		kill -KILL "$(cat "$mark")"
	fi
done
tree_state "$tree" >"$scratch/state.after"
cmp "$scratch/state.before" "$scratch/state.after" || fail "the source tree was changed"
[ ! -e "$scratch/fix.klp" ] || fail "there is a module"
finish
