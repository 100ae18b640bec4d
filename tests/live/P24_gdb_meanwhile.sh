#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# gdb comes while a patch is in transition, looks and goes, with klp's script and without; and again and again at random instants of loads and
# unloads: these end as if it had not been there or are refused, and are done by the next command. The program goes on in every case.
. "$(dirname "$0")/lib.sh"
begin
command -v gdb >/dev/null || skip "gdb is not installed"
mkdir "$work/tmp"
export KLPCTL=$klpctl DEBUGINFOD_URLS='' TMPDIR=$work/tmp
script=()
gdb -nx -batch -ex 'python print("yes")' 2>/dev/null | grep -q yes && script=(-iex "source $root/tools/gdb/klp.py")
look() { gdb -nx -batch -iex 'set debuginfod enabled off' "$@" -p "$(p)" -ex 'thread apply all bt' >"$work/gdb.out" 2>&1 </dev/null; }
start
# In the middle of a transition that a sleeping thread holds up, while klpctl waits.
asleep
"$klpctl" load --json --timeout 60 -p "$(p)" "$(module sleeper)" >"$work/json" 2>"$work/events" &
tool=$!
others+=("$tool")
in_transition() { [ "$(status '.patches[0].transition.direction')" = patching ]; }
wait_for 10 in_transition || die "no transition"
for _ in 1 2 3; do
	look
	grep -q 'in sleeper ' "$work/gdb.out" || die "gdb does not see the thread in the old function: $(tail "$work/gdb.out")"
	look "${script[@]}"
	grep -q 'in sleeper ' "$work/gdb.out" || die "gdb with the script does not: $(tail "$work/gdb.out")"
	kill -0 "$tool" 2>/dev/null || break
done
# A tool that was refused a thread in one of these moments may have given up: then the next one goes on.
ask wake
wait "$tool"
rc=$?
case $rc in 0) ;; 1 | 4 | 5) load sleeper ;; *) die "the load ended with status $rc" ;; esac
expect_status enabled '.patches[0].state'
asleep
ask wake
wait_for 5 eval 'ask slept; [ "$REPLY" = 200 ]' || die "the new function answered $REPLY, expected 200"
unload sleeper
# At any instant. gdb stops every thread, klp's helper too.
attacher() {
	until [ -e "$work/enough" ]; do
		look "${script[@]}"
		sleep "0.0$((RANDOM % 10))"
	done
}
attacher &
others+=($!)
count=$((${KLP_FULL:-0} * 90 + 10)) done=0 refused=0
for ((i = 0; i < count; i++)); do
	for command in "load $(module fix)" "unload fix"; do
		# shellcheck disable=SC2086 # words
		"$klpctl" ${command%% *} --json --timeout 5 -p "$(p)" "${command#* }" >"$work/json" 2>"$work/events"
		case $? in
		0) done=$((done + 1)) ;;
		1 | 4 | 5) refused=$((refused + 1)) ;;
		*) die "klpctl $command: status $?" ;;
		esac
		ask call answer 4
		[ "$REPLY" = 41 ] || [ "$REPLY" = 42 ] || die "answer $REPLY"
	done
done
: >"$work/enough"
wait "${others[-1]}"
echo "$done done, $refused refused or given up"
[ $done -gt 0 ] || die "nothing could be done between two visits of gdb"
ctl 0 load --json -p "$(p)" "$(module fix)"
expect 42 call answer 4
unload fix
expect 41 call answer 4
expect_result false .memory_left
