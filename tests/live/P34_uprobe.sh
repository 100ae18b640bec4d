#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An ordinary uprobe on a patched function's symbol, before, during and after: the patch stays effective (default flags).
. "$(dirname "$0")/lib.sh"
begin
start
target=$live/dynamic/target
read -r offset < <(readelf -SW "$target" | awk -v a="$(readelf -sW "$target" | awk '$8 == "answer" {print $2; exit}')" '
	function hex(s,  i, n) { n = 0; for (i = 1; i <= length(s); i++) n = n * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1; return n }
	{ sub(/^ *\[ *[0-9]+\] */, "") } $1 == ".text" { print hex(a) - hex($3) + hex($4) }')
probe_on() {
	coproc PROBE { exec "$build/bin/live_uprobe" "$(p)" "$target" "$offset" 2>"$work/probe"; }
	# shellcheck disable=SC2154 # coproc sets it
	probe=$PROBE_PID
	read -r -t 10 said <&"${PROBE[0]}" && [ "$said" = on ] || skip "$(cat "$work/probe")"
}
probe_off() {
	eval "exec ${PROBE[1]}>&-"
	wait "$probe" 2>/dev/null
}
effective() {
	ask call answer 4
	[ "$REPLY" = 42 ] || die "$1: the answer is $REPLY and status says $(status '.patches[0].functions[0].site')"
	expect_status armed '.patches[0].functions[0].site'
}
probe_on
expect 41 call answer 4
load fix
effective "a probe before the load"
probe_off
effective "that probe gone"
probe_on
effective "a probe after the load"
unload fix
expect 41 call answer 4
load fix
effective "loaded under the probe again"
probe_off
effective "that probe gone too"
unload fix
expect 41 call answer 4
