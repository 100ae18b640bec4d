#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Threads blocked in each kind of wait, through whole load and unload pairs: none fails, returns early, or late by more than the control run.
. "$(dirname "$0")/lib.sh"
begin
n=$(full 100 1000)
start control
ask waits
sleep 5
ask report
control=$REPLY
printf 'quit\n' >&"${wfd[control]}"
start
ask waits
sleep 0.5
began=$(date +%s%N)
pairs "$n"
echo "$n pairs in $(((($(date +%s%N) - began)) / 1000000)) ms"
ask report
echo "control: $control"
echo "patched: $REPLY"
[ "$(tr -cd ';' <<<"$REPLY" | wc -c)" -ge 19 ] || die "fewer kinds of waits than expected: $REPLY"
declare -A late
while read -r kind _ _ _ l _; do late[$kind]=$l; done < <(tr ';' '\n' <<<"$control" | grep .)
while read -r kind returns wrong early l err; do
	[ "$wrong" = 0 ] || die "$kind: $wrong of $returns returned wrongly (last: $err)"
	[ "$early" = 0 ] || die "$kind: $early of $returns returned early"
	[ "$l" -le $((${late[$kind]} + 50000)) ] || die "$kind: $l us late, ${late[$kind]} us in the control run"
	case $kind in epoll_wait_timed | futex_timed | cond_timedwait | *sleep | ppoll | sigtimedwait | recv_timeo) [ "$returns" -gt 0 ] || die "$kind never ended" ;; esac
done < <(tr ';' '\n' <<<"$REPLY" | grep .)
grep -q io_uring_enter <<<"$REPLY" || echo "NOTE: no io_uring here, io_uring_enter was not tried"
[ "$(result '.early_returns // 0')" = 0 ] || die "klpctl itself counted early returns"
