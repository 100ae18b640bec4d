#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A target that job control has stopped: refused, it stays stopped, and goes on as if nothing had been.
. "$(dirname "$0")/lib.sh"
begin
start
is() { [ "$(awk '/^State/ {print $2}' "/proc/$(p)/status")" = "$1" ]; }
kill -STOP "$(p)"
wait_for 5 is T || die "it does not stop"
before=$(fingerprint "$(p)")
RC=4,5 load fix --timeout 1
expect_reason STOPPED
[ "$(fingerprint "$(p)")" = "$before" ] || die "the stopped target was changed"
is T || die "it is not stopped any more"
kill -CONT "$(p)"
expect 41 call answer 4
load fix
expect 42 call answer 4
# Stopped in the middle of a life: status answers, an unload waits for its SIGCONT.
kill -STOP "$(p)"
wait_for 5 is T || die "it does not stop"
expect_status true '.patches[0].enabled'
RC=4,5 unload fix --timeout 1
is T || die "it is not stopped any more"
kill -CONT "$(p)"
expect 42 call answer 4
unload fix
expect 41 call answer 4
