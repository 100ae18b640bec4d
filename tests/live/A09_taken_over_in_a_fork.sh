#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hazard A9: a fork's child wakes up with its caller's frames. While a tool takes it over in the middle of its parent's transition, its calls go on to the
# version of the function that it is in: also when the tool has just begun, when another thread of the child calls first, when a vfork child does, and when a verdict
# was in force for the thread that forked.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/forking.sh"
begin
forking_program
# taken_over MOMENT SAID: by a tool that asks the child in that moment.
taken_over() {
	"$build/bin/live_adopted" "$child" "$work/own.klp" "$work/child.in" "$work/child.out" "$1" >"$work/said" 2>"$work/events" || die "$(cat "$work/events")"
	[ "$(cat "$work/said")" = "$2" ] || die "the child, while it is taken over, says $(cat "$work/said"), expected $2"
}
load_own() { # STATUS PID WHAT
	"$klpctl" load -p "$2" --timeout 0.5 "$work/own.klp" >/dev/null 2>"$work/events"
	[ $? = "$1" ] || die "$3: $(cat "$work/events")"
}
for how in taken thread vfork; do
	family
	parent o # it is inside now, and stays
	sleep 0.2
	load_own 5 "$parent" "the parent's transition is not pending"
	a_child
	case $how in
	taken) taken_over helper 11 ;;
	thread) child t 1 ;;
	vfork) child v 11 ;;
	esac
	child i 11
	child v 11
	# It is taken to the new version by itself when it has left the old one.
	load_own 5 "$child" "$how: the child's transition is not pending, and it is inside the old version"
	child i 11
	child v 11
	child l 1
	load_own 0 "$child" "$how: the child's transition does not end"
	printf 'o' >"$work/child.in"
	child i 22
	end_family
done

# One thread stays in each version, so that nothing ends; the one that will fork moves to the new version, and a reversal has a verdict for it, which it has not applied.
family
parent k 1
load_own 5 "$parent" "the parent's transition is not pending"
parent c 2
parent k 2
"$klpctl" unload -p "$parent" --timeout 0.5 own >/dev/null 2>"$work/events"
[ $? = 5 ] || die "the reversal is not pending: $(cat "$work/events")"
a_child
# It enters and calls in the moment in which the tool knows its version and has not written that.
taken_over entry "22
22"
end_family

# A thread that is not seen waiting may be deciding just now.
family
parent o
sleep 0.2
load_own 5 "$parent" "the parent's transition is not pending"
a_child
child w 0
child s 0
load_own 5 "$child" "a child whose first thread runs all the time is taken over"
grep -q 'has not been seen waiting in a system call' "$work/events" || die "klpctl says: $(cat "$work/events")"
end_family
exit 0
