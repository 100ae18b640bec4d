#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The main thread exits while a tool waits for another one: the files of its /proc entry say nothing any more, and the tool goes on.
. "$(dirname "$0")/lib.sh"
begin
start t --main-leaves
ask sleep
reading() { # COUNT: so many threads wait in a read
	local t n c=0
	for t in "/proc/$(p)/task"/*; do
		read -r n _ <"$t/syscall" && { [ "$n" = 0 ] || [ "$n" = 63 ]; } && c=$((c + 1))
	done
	[ $c -eq "$1" ]
}
wait_for 5 reading 2 || die "the sleeper and the server do not both read"
for how in load unload; do
	if [ $how = load ]; then what=$(module sleeper); else what=sleeper; fi
	"$klpctl" $how -v --json --timeout 60 -p "$(p)" "$what" >"$work/json" 2>"$work/events" &
	others=($!)
	if [ $how = load ]; then
		wait_for 10 grep -qs "'sleeper': starting" "$work/events" || die "no transition began"
		sleep 0.5
		ask leave
		wait_for 5 grep -q '^State:.Z' "/proc/$(p)/task/$(p)/status" || die "the main thread did not exit"
		sleep 1
		kill -0 "${others[0]}" 2>/dev/null || die "the load did not wait for the sleeper"
		ask wake
	fi
	wait "${others[0]}"
	rc=$?
	others=()
	[ $rc = 0 ] || die "the $how ended with status $rc"
done
expect 41 call answer 4
