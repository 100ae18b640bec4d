#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An ordinary uprobe on a patched function's symbol, before, during and after: the patch stays effective (default flags); in the program and in a library.
. "$(dirname "$0")/lib.sh"
begin
start
. "$(dirname "$0")/probe.sh"
effective() {
	ask call "$function" 4
	[ "$REPLY" = "$new" ] || die "$1: the answer is $REPLY and status says $(status '.patches[0].functions[0].site')"
	expect_status armed '.patches[0].functions[0].site'
}
while read -r object function patch old new; do
	probe_of "$live/dynamic/$object" "$function"
	probe_on
	expect "$old" call "$function" 4
	load "$patch"
	effective "a probe before the load"
	probe_off
	effective "that probe gone"
	probe_on
	effective "a probe after the load"
	unload "$patch"
	expect "$old" call "$function" 4
	load "$patch"
	effective "loaded under the probe again"
	probe_off
	effective "that probe gone too"
	unload "$patch"
	expect "$old" call "$function" 4
done <<'END'
target answer fix 41 42
libaux.so aux_answer aux 29 30
END
