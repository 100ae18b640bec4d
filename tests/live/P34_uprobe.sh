#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A uprobe on a patched function, before, during and after: the patch stays effective, or status says bypassed.
. "$(dirname "$0")/lib.sh"
begin
trace=
for d in /sys/kernel/tracing /sys/kernel/debug/tracing; do [ -w "$d/uprobe_events" ] && trace=$d && break; done
[ -n "$trace" ] || skip "no tracefs with uprobe_events here"
start
offset=$(readelf -sW "$live/dynamic/target" | awk '$8 == "answer" {print $2; exit}')
event=klp_live_$$
probe_on() {
	echo "p:$event $live/dynamic/target:0x$offset" >>"$trace/uprobe_events" 2>/dev/null && echo 1 >"$trace/events/uprobes/$event/enable"
}
probe_off() {
	echo 0 >"$trace/events/uprobes/$event/enable" 2>/dev/null
	echo "-:$event" >>"$trace/uprobe_events" 2>/dev/null
}
trap 'probe_off; cleanup' EXIT
effective() { # the new answer, or an honest status
	ask call answer 4
	[ "$REPLY" = 42 ] && return
	[ "$REPLY" = 41 ] && [ "$(status '.patches[0].functions[0].site')" = bypassed ] && return
	die "$1: the answer is $REPLY and status says $(status '.patches[0].functions[0].site')"
}
probe_on || skip "the kernel does not take a uprobe on $live/dynamic/target"
expect 41 call answer 4
RC=0,4 load fix
if [ "$(result .result)" = "done" ]; then
	effective "a probe before the load"
	probe_off
	effective "that probe gone"
else
	expect_reason SITE_TAKEN
	probe_off
	load fix
	effective "loaded when the probe had gone"
fi
probe_on || die "the second probe is refused"
effective "a probe after the load"
probe_off
effective "that probe gone too"
unload fix
expect 41 call answer 4
