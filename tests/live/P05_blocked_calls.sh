#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Threads blocked in each kind of wait, through whole load and unload pairs: none fails, returns early, or late by more than in the control.
. "$(dirname "$0")/lib.sh"
begin
n=$(full 100 1000)
waits_begin
sleep 0.5
began=$(date +%s%N)
pairs "$n"
echo "$n pairs in $(((($(date +%s%N) - began)) / 1000000)) ms"
waits_end
[ "$(tr -cd ';' <<<"$REPLY" | wc -c)" -ge 19 ] || die "fewer kinds of waits than expected: $REPLY"
while read -r kind returns wrong early l err; do
	[ "$wrong" = 0 ] || die "$kind: $wrong of $returns returned wrongly (last: $err)"
	[ "$early" = 0 ] || die "$kind: $early of $returns returned early"
	[ "$l" -le $((late + 50000)) ] || die "$kind: $l us late, at most $late us in the control"
	case $kind in epoll_wait_timed | futex_timed | cond_timedwait | *sleep | ppoll | sigtimedwait | recv_timeo) [ "$returns" -gt 0 ] || die "$kind never ended" ;; esac
done < <(tr ';' '\n' <<<"$REPLY" | grep .)
