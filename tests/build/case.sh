#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# case.sh CASE: builds the case's module and checks what README.md says that `expect` says.
# shellcheck source=tests/build/lib.sh
. "$(dirname "$0")/lib.sh"
begin
case_setup "$1"
case_build
nothing_left "$1"

seen=0 objects=
while read -r what rest; do
	case $what in
	exit)
		seen=1
		[ "$status" = "$rest" ] || fail "exit status $status, expected $rest"
		;;
	not-exit)
		seen=1
		for s in $rest; do
			[ "$status" != "$s" ] || fail "exit status $status"
		done
		;;
	message) cat "$scratch/out" "$scratch/report.json" | grep -qE -- "$rest" || fail "no message matches $rest" ;;
	changed | new | data | removed | accepted) report_has "$what" "$rest" || fail "$rest is not in the report's list of $what" ;;
	file)
		jq -e --arg s "${rest% *}" --arg f "${rest#* }" '.changed | any(.symbol == $s and (.file | endswith($f)))' \
			"$scratch/report.json" >/dev/null || fail "$rest: not so in the report"
		;;
	objects) objects=$rest ;;
	not-changed) ! report_has changed "$rest" || fail "$rest is in the report's list of changed" ;;
	compiled-again)
		n=$(jq .build.compiled_again "$scratch/report.json")
		[ "$n" = "$rest" ] || fail "$n units were compiled again, expected $rest"
		;;
	lines)
		n=$(jq -r '.build.lines | "\(.kept) \(.apart) \(.plain)"' "$scratch/report.json")
		[ "$n" = "$rest" ] || fail "units by their line numbers: $n, expected $rest"
		;;
	*) fail "expect: $what is unknown" ;;
	esac
done <"$tests/cases/$1/expect"
[ $seen = 1 ] || fail "expect names no exit status"
if [ "$status" = 0 ]; then
	[ -s "$scratch/fix.klp" ] || fail "there is no module"
	module_info "$scratch/fix.klp" >"$scratch/info.json" || fail "klpctl does not take the module"
	[ -z "$objects" ] || jq -e --argjson n "$objects" '.objects | length == $n' "$scratch/info.json" >/dev/null || fail "the module is not for $objects objects"
	jq -e '.name == "fix"' "$scratch/info.json" >/dev/null || fail "the module has another name"
else
	[ ! -e "$scratch/fix.klp" ] || fail "there is a module"
fi
[ "$failures" -eq 0 ] || cat "$scratch/out" "$scratch/report.json" >&2
finish
