#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A tool was killed when it had posted the request that begins its transition, and nobody has executed it. The next command, about another patch, lets it be
# executed before it decides: a transition is in flight then, and that command changes nothing.
. "$(dirname "$0")/lib.sh"
begin
start
load fix3
for second in "load fix2" "unload fix3"; do
	# shellcheck disable=SC2154 # lib.sh's
	"$build/bin/live_posted" "$(p)" "$(module fix)" >"$work/posted" 2>&1
	[ $? = 137 ] || die "the tool was not killed: $(cat "$work/posted")"
	expect 41 call answer 4
	# shellcheck disable=SC2086 # words
	RC=4 $second
	expect_reason BUSY
	expect_status enabling '.patches[] | select(.name == "fix") | .state'
	expect_status enabled '.patches[] | select(.name == "fix3") | .state'
	expect_status 2 '.patches | length'
	load fix
	expect 42 call answer 4
	unload fix
	expect 41 call answer 4
done
# And a command about that transition finds it.
"$build/bin/live_posted" "$(p)" "$(module fix)" >"$work/posted" 2>&1
ctl 0 force --json -p "$(p)" fix
expect_status enabled '.patches[] | select(.name == "fix") | .state'
expect 42 call answer 4
unload fix
# So does one that comes when it is being executed.
"$build/bin/live_posted" "$(p)" "$(module fix)" >"$work/posted" 2>&1
"$build/bin/live_late" "$(p)" fix || die "the transition was not found"
expect_status 1 '[.patches[] | select(.name == "fix" and .state == "enabled")] | length'
expect 42 call answer 4
alive
