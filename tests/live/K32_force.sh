#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# force ends a transition that waits for a thread, in both directions: everybody else is in the target universe from then on, the thread that was left
# behind goes on in its old function and returns from it, and the forced patch's memory is never given back. It says that it may crash the program if the
# patch's functions belong together.
. "$(dirname "$0")/lib.sh"
begin
start
woken() { # ANSWER: the sleeping thread goes on and returns it
	ask wake
	wait_for 10 eval 'ask slept; [ "$REPLY" != 0 ]' || die "the sleeping thread did not return"
	[ "$REPLY" = "$1" ] || die "the sleeping thread answered $REPLY, expected $1"
}
text_of() { # where sleeper's replacement is
	status '.patches[] | select(.name == "sleeper") | .functions[0].new_address'
}
mapped() { # ADDRESS: as text
	local range prot _
	while read -r range prot _; do
		[ $((0x${range%-*})) -le "$1" ] && [ "$1" -lt $((0x${range#*-})) ] && [[ $prot = r-x* ]] && return 0
	done <"/proc/$(p)/maps"
	return 1
}

# Nothing to force: refused, and nothing happens.
ctl 4 force --json -p "$(p)" sleeper
expect_reason NOT_LOADED
load fix
ctl 4 force --json -p "$(p)" fix
expect_reason NOT_LOADED
expect 42 call answer 4
expect_status false '.patches[0].forced'

# A load: the thread sleeps in the old function.
asleep
RC=5 load sleeper --timeout 0.3
expect_result sleeper '.pending[0].function'
ctl 4 force --json -p "$(p)" fix
expect_reason NOT_LOADED
expect_status enabling '.patches[] | select(.name == "sleeper") | .state'
ctl 0 force -v --json -p "$(p)" sleeper
events "'sleeper': completing patching transition" "'sleeper': patching complete"
grep -q 'may crash' "$work/events" && die "one function that stands for itself, and force says that it may crash"
expect_status enabled '.patches[] | select(.name == "sleeper") | .state'
expect_status true '.patches[] | select(.name == "sleeper") | .forced'
expect_status false '.patches[] | select(.name == "fix") | .forced'
expect_status null '.patches[] | select(.name == "sleeper") | .transition'
woken 100
asleep
woken 200

# The unload: the thread sleeps in the new function, which must stay.
asleep
at=$(text_of)
mapped "$at" || die "the new function is not mapped as text"
RC=5 unload sleeper --timeout 0.3
ctl 0 force -v --json -p "$(p)" sleeper
events "'sleeper': completing unpatching transition" "'sleeper': unpatching complete"
expect_status 0 '[.patches[] | select(.name == "sleeper" and .enabled)] | length'
mapped "$at" || die "a forced patch's text was given back"
# Other commands that could give memory back do not either.
unload fix
expect 41 call answer 4
mapped "$at" || die "a forced patch's text was given back by another unload"
woken 200
asleep
woken 100
load fix
expect 42 call answer 4
unload sleeper # was there nothing more to do? it is unloaded
mapped "$at" || die "a forced patch's text was given back by its unload"
# A forced patch can be loaded again.
load sleeper
asleep
woken 200
[ "$(text_of)" != "$at" ] || die "the second load has the first one's text"
mapped "$at" || die "a forced patch's text was given back by its second load"
expect_status false '.patches[] | select(.name == "sleeper" and .enabled) | .forced'
unload sleeper
asleep
woken 100
mapped "$at" || die "a forced patch's text was given back"
unload fix
expect 41 call answer 4

# Several functions: the thread that was left behind goes on with one's old version among the others' new ones.
asleep
RC=5 load leafsleep --timeout 0.3
ctl 0 force --json -p "$(p)" leafsleep
events "warning: the functions of patch 'leafsleep' belong together: forcing it may crash process $(p)"
expect_status true '.patches[] | select(.name == "leafsleep") | .forced'
woken 100
unload leafsleep
alive
