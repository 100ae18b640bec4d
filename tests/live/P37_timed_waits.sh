#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Sleeps and timed waits are neither early nor late by more than in the control while threads are borrowed and proofs run.
. "$(dirname "$0")/lib.sh"
begin
waits_begin
end=$((SECONDS + $(full 6 30)))
while [ $SECONDS -lt $end ]; do
	pairs 1
	sleep 0.0$((RANDOM % 10))
done
waits_end
checked=0
while read -r kind returns wrong early l err; do
	[ "$wrong" = 0 ] && [ "$early" = 0 ] || die "$kind: $wrong wrong ($err), $early early of $returns"
	# 40 ms: a socket's timeout is rounded up by the kernel's timer wheel to 32 ms at this length; a wait that began anew would be up to 300 ms late
	[ "$l" -le $((late + 40000)) ] || die "$kind: $l us late, at most $late us in the control"
	[ "$returns" -gt 5 ] && checked=$((checked + 1))
done < <(tr ';' '\n' <<<"$REPLY" | grep .)
[ $checked -ge 7 ] || die "only $checked kinds of timed waits ended often enough to tell"
