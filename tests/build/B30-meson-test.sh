#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# B30: a meson tree, set up before (by absolute compiler paths) or by the build command itself.
# shellcheck source=tests/build/lib.sh
. "$(dirname "$0")/lib.sh"
command -v meson >/dev/null || {
	echo "skipped: meson is not installed"
	exit 77
}
begin
case_setup B39
cat >"$tree/meson.build" <<-'END'
project('case', 'c', default_options: ['buildtype=plain'])
part = static_library('part', 'other.c', 'unrelated.c')
executable('server', 'loop.c', 'main.c', link_with: part)
END
check() {
	local name=$1 status=0
	# shellcheck disable=SC2154 # set by case_setup
	"$klp_build" -s "$tree" -b "$2" -t "$3" -n fix -o "$scratch/fix.klp" --report "$scratch/report.json" "${diffs[@]}" \
		>"$scratch/out" 2>&1 </dev/null || status=$?
	[ "$status" -eq 0 ] || fail "$name: exit status $status: $(cat "$scratch/out")"
	# the archive's member that nothing refers to is not linked
	[ "$(jq .build.units "$scratch/report.json")" = 3 ] || fail "$name: $(jq .build "$scratch/report.json")"
	report_has changed probe || fail "$name: probe is not among the changed functions"
	report_has changed other || fail "$name: other is not among the changed functions"
	nothing_left "$name"
}
# shellcheck disable=SC2016 # the build's shell expands it
check setup 'CFLAGS="-O2 -g $KLP_CFLAGS" meson setup out && ninja -C out' out/server
(cd "$tree" && CFLAGS="-O2 -g $KLP_CFLAGS" meson setup out && ninja -C out) >"$scratch/meson" 2>&1 || fail "meson: $(cat "$scratch/meson")"
check 'set up' 'ninja -C out' out/server
finish
