#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two klpctl at once: one wins, the other waits or says EBUSY; the result is that of some order.
. "$(dirname "$0")/lib.sh"
begin
start
for ((i = 0; i < $(full 10 100); i++)); do
	"$klpctl" load --json -p "$(p)" "$(module fix)" >"$work/one" 2>/dev/null &
	one=$!
	"$klpctl" load --json -p "$(p)" "$(module fix2)" >"$work/two" 2>/dev/null &
	two=$!
	wait $one
	a=$?
	wait $two
	b=$?
	for f in one two; do
		r=$(jq -r '.processes[0].result + " " + (.processes[0].reason // "")' "$work/$f")
		case $r in done* | *BUSY) ;; *) die "load of $f: $r" ;; esac
	done
	[ $a = 0 ] || [ $b = 0 ] || die "nobody won: $a and $b"
	if [ $a = 0 ]; then expect 42 call answer 4; else expect 41 call answer 4; fi
	if [ $b = 0 ]; then expect 402 call other 4; else expect 401 call other 4; fi
	unload fix2
	unload fix
done
# A tool in other namespaces is not alone either.
asleep
"$klpctl" load -v --json --timeout 30 -p "$(p)" "$(module sleeper)" >"$work/one" 2>"$work/one.err" &
one=$!
others+=("$one")
wait_for 10 grep -qs "starting patching transition" "$work/one.err" || die "the first load did not begin"
if unshare --net true 2>/dev/null; then
	unshare --net "$klpctl" unload --json --timeout 1 -p "$(p)" sleeper >"$work/json" 2>"$work/events"
	rc=$?
	[ $rc = 1 ] || [ $rc = 4 ] || die "an unload from another network namespace: exit status $rc"
	expect_reason BUSY
	expect 41 call answer 4
else
	echo "no new namespaces: only tools of one were tried" >&2
fi
ask wake
wait "$one" || die "the first load ended with status $?"
unload sleeper
