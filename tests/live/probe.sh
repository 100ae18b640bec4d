# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# An ordinary uprobe on a function of the current target. Sourced after lib.sh.
#
# probe_of PROGRAM FUNCTION: which; then probe_on, which skips the test where the kernel has none for us, and probe_off.
probe_of() {
	probed=$1
	read -r probed_at < <(readelf -SW "$1" | awk -v a="$(readelf -sW "$1" | awk -v f="$2" '$8 == f {print $2; exit}')" '
	function hex(s,  i, n) { n = 0; for (i = 1; i <= length(s); i++) n = n * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1; return n }
	{ sub(/^ *\[ *[0-9]+\] */, ""); at = hex($3) } hex(a) >= at && hex(a) < at + hex($5) && $2 == "PROGBITS" { print hex(a) - at + hex($4) }')
	[ -n "$probed_at" ] || die "where $2 lies in $1 is not known"
}
probe_on() {
	coproc PROBE { exec "$build/bin/live_uprobe" "$(p)" "$probed" "$probed_at" 2>"$work/probe"; }
	# shellcheck disable=SC2154 # coproc sets it
	probe=$PROBE_PID
	read -r -t 10 said <&"${PROBE[0]}" && [ "$said" = on ] || skip "$(cat "$work/probe")"
}
probe_off() {
	eval "exec ${PROBE[1]}>&-"
	wait "$probe" 2>/dev/null
}
