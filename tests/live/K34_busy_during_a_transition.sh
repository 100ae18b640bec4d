#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A second patch during a transition: EBUSY, and the one in flight is not disturbed. Unload reverses it.
. "$(dirname "$0")/lib.sh"
begin
start
asleep
RC=5 load sleeper --timeout 0.3
expect_reason PENDING
expect_result sleeper '.pending[0].function'
tid=$(result '.pending[0].tid')
sleep 0.3
# Nobody waits for it any more: status says whom it waits for, why, and how long already.
expect_status "$tid sleeper ON_STACK true" '.patches[0].transition | "\(.pending[0] | .tid) \(.pending[0].function) \(.pending[0].reason) \(.pending[0].since_ms >= 500)"'
expect_status 1 '.patches[0].transition.pending | length'
RC=1,4 load fix --timeout 0.5
expect_reason BUSY
expect 41 call answer 4
expect_status enabling '.patches[] | select(.name == "sleeper") | .state'
unload sleeper
events "'sleeper': reversing transition from patching to unpatching"
expect_status 0 '[.patches[] | select(.enabled)] | length'
ask wake
wait_for 5 eval 'ask slept; [ "$REPLY" = 100 ]' || die "the sleeper answered $REPLY, expected 100"
load fix
expect 42 call answer 4
