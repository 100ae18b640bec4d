#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# live.sh CASE: builds the case's module, loads it into the running program and unloads it; what the program answers before, with the module
# and after it is what README.md says of `probe`.
# shellcheck source=tests/build/lib.sh
. "$(dirname "$0")/lib.sh"
begin
probe=$tests/cases/$1/probe
declare -A line=()
while read -r what rest; do
	case $what in
	input | before | after | unloaded) line[$what]=$rest ;;
	*) fail "probe: $what is unknown" ;;
	esac
done <"$probe"
: "${line[before]:?no answer before}" "${line[after]:?no answer after}"
[ "${line[before]}" != "${line[after]}" ] || fail "the probe cannot tell the patch"

case_setup "$1"
case_build
if [ "$status" != 0 ]; then
	cat "$scratch/out" >&2
	fail "klp-build ended with status $status"
	finish
fi

mkfifo "$scratch/to" "$scratch/from"
"$running" <"$scratch/to" >"$scratch/from" 2>"$scratch/program.err" &
pid=$!
trap 'kill -KILL "$pid" 2>/dev/null || :; rm -rf "$scratch"' EXIT
exec {to}>"$scratch/to" {from}<"$scratch/from"

ask() { # WANTED WHEN
	local answer
	printf '%s\n' "${line[input]:-}" >&"$to"
	if ! IFS= read -r -t 20 answer <&"$from"; then
		fail "$2: no answer; $(cat "$scratch/program.err")"
		finish
	fi
	[ "$answer" = "$1" ] || fail "$2: answer '$answer', expected '$1'"
}

ctl() {
	local rc=0
	"$build/bin/klpctl" "$@" >"$scratch/ctl" 2>&1 || rc=$?
	[ "$rc" = 0 ] && return
	fail "klpctl $1 ended with status $rc"
	cat "$scratch/ctl" >&2
	finish
}

ask "${line[before]}" "before the load"
ctl load -p "$pid" -v "$scratch/fix.klp"
ask "${line[after]}" "with the module"
ctl unload -p "$pid" -v fix
ask "${line[unloaded]:-${line[before]}}" "after the unload"
exec {to}>&- # the end of its input is the program's
ended=0
wait "$pid" || ended=$?
[ "$ended" = 0 ] || fail "the program ended with status $ended"
nothing_left "$1"
finish
