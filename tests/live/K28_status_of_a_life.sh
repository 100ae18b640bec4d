#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Status through a whole life: nothing, in transition, enabled, in transition, nothing.
. "$(dirname "$0")/lib.sh"
begin
start
expect_status 0 '.patches | length'
asleep
RC=5 load sleeper --timeout 0.3
expect_status enabling '.patches[0].state'
expect_status patching '.patches[0].transition.direction'
expect_status true '.patches[0].enabled'
expect_status 1 '.patches[0].stack_order'
ask wake
wait_for 5 eval 'ask slept; [ "$REPLY" = 100 ]' || die "the old function answered $REPLY, expected 100"
load sleeper
expect_status enabled '.patches[0].state'
expect_status null '.patches[0].transition'
asleep
RC=5 unload sleeper --timeout 0.3
expect_status disabling '.patches[0].state'
expect_status unpatching '.patches[0].transition.direction'
expect_status false '.patches[0].enabled'
ask wake
wait_for 5 eval 'ask slept; [ "$REPLY" = 200 ]' || die "the new function answered $REPLY, expected 200"
unload sleeper
expect_status 0 '.patches | length'
