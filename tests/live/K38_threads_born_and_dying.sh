#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Threads are born and die by the hundred per second, and the machine has more to do than it can: each listing finds new ones. The transition
# ends all the same, within the time that it was given, and nobody sees two versions at once.
. "$(dirname "$0")/lib.sh"
begin
start
ask births
first=${EPOCHREALTIME/./}
ask pairs 2 1
for _ in 1 2 3 4 5 6; do
	(while :; do :; done) &
	others+=($!)
done
mixes() { # that there were calls since the last time, and no mix
	ask mixes
	local calls mixed
	read -r calls mixed _ <<<"$REPLY"
	[ "$mixed" = 0 ] || die "$mixed of $calls pairs were mixed"
	[ "$calls" -gt "${last:-0}" ] || die "nobody called: $REPLY"
	last=$calls
}
for ((i = 0; i < $(full 3 50); i++)); do
	for what in load unload; do
		began=$SECONDS
		if [ $what = load ]; then load pair --timeout 20; else unload pair --timeout 20; fi
		[ $((SECONDS - began)) -le 30 ] || die "$what took $((SECONDS - began)) s"
		mixes
	done
done
ask born
echo "$((REPLY * 1000000 / (${EPOCHREALTIME/./} - first))) threads a second"
[ "$REPLY" -gt 100 ] || die "$REPLY threads were born"
