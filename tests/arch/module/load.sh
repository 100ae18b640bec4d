#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A module that was made by hand (make.py) is loaded into a running program and unloaded, twice; every thread gets the answers of one universe or the
# other, and in the end the text is what it was and nothing of klp's is mapped. load.sh KLPCTL PROGRAM MODULE [guarded]
set -u
klpctl=$1 program=$2 module=$3 guarded=${4:-}
dir=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null; rm -rf "$dir"' EXIT

die() {
	echo "$*" >&2
	exit 1
}
# The answer becomes what it is to be, within a time that is only there to end the test.
answers() {
	for _ in $(seq 600); do
		[ "$(tail -n 1 "$dir/out")" = "$1" ] && return 0
		kill -0 "$pid" 2>/dev/null || die "the program ended: $(cat "$dir/out")"
		sleep 0.1
	done
	die "the answer is $(tail -n 1 "$dir/out"), not $1"
}
# A transition may need more time than one command waits, on an emulated machine: what is pending is asked for again.
until_done() {
	local rc
	for _ in $(seq 20); do
		timeout 120 "$klpctl" "$@"
		rc=$?
		[ "$rc" -ne 5 ] && break
	done
	[ "$rc" -eq 0 ] || die "klpctl $*: $rc"
}
text() { # the program's own text, as the process has it
	local range
	range=$(awk -v p="$program" '$2 == "r-xp" && $6 == p { print $1; exit }' "/proc/$pid/maps")
	dd if="/proc/$pid/mem" bs=4096 skip=$((0x${range%-*} / 4096)) count=$(((0x${range#*-} - 0x${range%-*}) / 4096)) 2>/dev/null | cksum
}

"$program" 600 >"$dir/out" &
pid=$!
answers 44
if [ -n "$guarded" ] && ! awk -v p="$program" '$6 == p { here = $2 == "r-xp" } here && /^VmFlags:.* bt/ { found = 1 } END { exit !found }' "/proc/$pid/smaps"; then
	echo "SKIPPED: this kernel or processor guards no text" >&2
	exit 77
fi
before=$(text)
for _ in 1 2; do
	until_done load -p "$pid" "$module"
	answers 144
	[ "$(text)" != "$before" ] || die "the text has not changed"
	"$klpctl" status -p "$pid" | grep -q 'fix: enabled' || die "it is not enabled"
	until_done unload -p "$pid" fix
	answers 44
done
# Memory of klp's goes with the next command, if a thread was in it.
for _ in $(seq 100); do
	grep -q 'r-xp 00000000 00:00 0 *$' "/proc/$pid/maps" || break
	"$klpctl" unload -p "$pid" fix >/dev/null
	sleep 0.1
done
grep -q 'r-xp 00000000 00:00 0 *$' "/proc/$pid/maps" && die "klp's text is still mapped"
[ "$(text)" = "$before" ] || die "the text is not what it was"
grep -q wrong "$dir/out" && die "a thread got a wrong answer"
kill -0 "$pid" || die "the program is gone"
exit 0
