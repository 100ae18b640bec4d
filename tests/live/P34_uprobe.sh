#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An ordinary uprobe on a patched function's symbol, before, during and after: the patch stays effective (default flags).
. "$(dirname "$0")/lib.sh"
begin
start
. "$(dirname "$0")/probe.sh"
probe_of "$live/dynamic/target" answer
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
