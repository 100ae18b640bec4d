#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A process that has ended and that nobody has waited for: every command says so and ends at once; a command without -p passes it by. One that becomes a zombie while
# a transition waits ends that.
. "$(dirname "$0")/lib.sh"
begin
start # so that the usual target is known to work here
# Its parent never waits.
mkfifo "$work/z.in"
cat >"$work/parent" <<'SH'
"$1" <"$2" >/dev/null 2>&1 &
echo $!
exec sleep 1000
SH
bash "$work/parent" "$live/dynamic/target" "$work/z.in" >"$work/z.pid" &
parent=$!
others+=("$parent")
exec {z}>"$work/z.in"
wait_for 10 [ -s "$work/z.pid" ] || die "no child"
zombie=$(cat "$work/z.pid")
others+=("$zombie")
# shellcheck disable=SC2317 # wait_for calls them
{
is_target() { [ "$(readlink "/proc/$zombie/exe")" = "$(readlink -f "$live/dynamic/target")" ] && [ "$(cat "/proc/$parent/comm")" = sleep ]; }
is_zombie() { grep -q '^State:.Z' "/proc/$zombie/status"; }
}
wait_for 10 is_target || die "the child does not run"
printf 'sleep\n' >&$z
# shellcheck disable=SC2317
sleeps() { [ "$(find "/proc/$zombie/task" -mindepth 1 -maxdepth 1 | wc -l)" = 2 ] && grep -q '^[06]' "/proc/$zombie"/task/*/syscall; }
wait_for 10 sleeps || die "the child's thread does not sleep"
sleep 0.2
"$klpctl" load -v --json --timeout 30 -p "$zombie" "$(module sleeper)" >"$work/json" 2>"$work/events" &
tool=$!
others+=("$tool")
wait_for 10 grep -qs 'starting patching transition' "$work/events" || die "the transition did not begin"
kill -KILL "$zombie"
rc=0
wait $tool || rc=$?
[ $rc = 1 ] || [ $rc = 4 ] || die "klpctl ended with status $rc when its target became a zombie"
case $(result .reason) in NO_PROCESS | ZOMBIE) ;; *) die "reason $(result .reason)" ;; esac
wait_for 10 is_zombie || die "it is no zombie: $(grep State "/proc/$zombie/status")"
for what in load check unload force status stack; do
	case $what in
	load | check) operand=$(module fix) ;;
	unload | force) operand=fix ;;
	*) operand= ;;
	esac
	began=$SECONDS
	# shellcheck disable=SC2086 # empty for some
	timeout 60 "$klpctl" $what --json -p "$zombie" $operand >"$work/json" 2>"$work/events"
	rc=$?
	[ $rc = 1 ] || [ $rc = 4 ] || die "$what of a zombie: exit status $rc: $(cat "$work/json")"
	[ $((SECONDS - began)) -lt 20 ] || die "$what of a zombie took $((SECONDS - began)) s"
	case $(jq -r '.reason // .processes[0].reason' "$work/json") in ZOMBIE | NO_PROCESS) ;; *) die "$what of a zombie: $(cat "$work/json")" ;; esac
	jq -r '.error // .processes[0].message' "$work/json" | grep -q "$zombie" || die "$what does not say which process: $(cat "$work/json")"
done
is_zombie || die "it is gone"
"$klpctl" status --json >"$work/json" 2>"$work/events" || die "status of all failed: $(cat "$work/events")"
[ "$(jq --argjson z "$zombie" '[.processes[] | select(.pid == $z)] | length' "$work/json")" = 0 ] || die "the zombie is said to be patched"
load fix
expect 42 call answer 4
