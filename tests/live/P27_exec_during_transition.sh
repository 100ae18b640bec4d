#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# exec and exit while a transition waits for a thread: the tool ends with a reason, the new program is as nobody had been there.
. "$(dirname "$0")/lib.sh"
begin
for how in exec exit; do
	start $how
	asleep
	"$klpctl" load -v --json --timeout 20 -p "$(p)" "$(module sleeper)" >"$work/json" 2>"$work/events" &
	tool=$!
	others+=("$tool")
	wait_for 10 grep -qs 'starting patching transition' "$work/events" || die "$how: the transition did not begin"
	if [ $how = exec ]; then
		expect ok exec
	else
		printf 'quit\n' >&"${wfd[$how]}"
	fi
	rc=0
	wait "$tool" || rc=$?
	[ $rc = 1 ] || die "$how: klpctl ended with status $rc, expected 1"
	expect_reason NO_PROCESS
	[ $how = exec ] || continue
	[ "$(status '.patches | length')" = 0 ] || die "the new program has patches"
	maps | grep -q 'r-xp.* $' && die "the new program has klp's mappings: $(maps | grep 'r-xp.* $')"
	load fix
	expect 42 call answer 4
	unload fix
	expect 41 call answer 4
done
