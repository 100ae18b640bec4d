#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Sleeps and timed waits are neither early nor late by more than the control run while threads are borrowed and proofs run.
. "$(dirname "$0")/lib.sh"
begin
start control
ask waits
sleep "$(full 6 30)"
ask report
control=$REPLY
printf 'quit\n' >&"${wfd[control]}"
start
ask waits
end=$((SECONDS + $(full 6 30)))
while [ $SECONDS -lt $end ]; do
	pairs 1
	sleep 0.0$((RANDOM % 10))
done
ask report
declare -A late
while read -r kind _ _ _ l _; do late[$kind]=$l; done < <(tr ';' '\n' <<<"$control" | grep .)
checked=0
while read -r kind returns wrong early l err; do
	[ "$wrong" = 0 ] && [ "$early" = 0 ] || die "$kind: $wrong wrong ($err), $early early of $returns"
	# 40 ms: a socket's timeout is rounded up by the kernel's timer wheel to 32 ms at this length; a wait that began anew would be up to 300 ms late
	[ "$l" -le $((${late[$kind]} + 40000)) ] || die "$kind: $l us late, ${late[$kind]} us in the control run"
	[ "$returns" -gt 5 ] && checked=$((checked + 1))
done < <(tr ';' '\n' <<<"$REPLY" | grep .)
[ $checked -ge 7 ] || die "only $checked kinds of timed waits ended often enough to tell"
