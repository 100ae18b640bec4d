#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The program closes an object and opens it again, at the same place, while a load arms its sites: when their PLT entries are written and the sites do not lead
# there yet. The load is refused, and nobody who calls the function is led into a prefix without a PLT entry.
# shellcheck disable=SC2154 # lib.sh's
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/plugin.sh"
begin
plugin_program
plugin_patch fix 's/VERSION 1/VERSION 2/'
target t "$work/prog" "$work/plugin.so"
expect 0 open
for ((i = 0; i < 3; i++)); do
	"$build/bin/live_reopened" "$(p)" "$work/fix.klp" "$work/t.in" plugin.so >"$work/json" 2>"$work/events" || die "it was not opened again under the load"
	for _ in close open; do
		IFS= read -r -t 20 REPLY <&"${rfd[t]}"
		[ "$REPLY" = 0 ] || die "the program could not close and open it: '$REPLY'"
	done
	expect_result refused .result
	expect_reason BUSY
	expect 1 call
	expect_status 0 '[.patches[] | select(.enabled)] | length'
	ctl 0 load --json -p "$(p)" "$work/fix.klp"
	expect 2 call
	ctl 0 unload --json -p "$(p)" fix
	expect 1 call
done
alive
