#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A cumulative patch that knows a later version of the state takes it over with its data; the old patch's callbacks do not run.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module state1 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(state_patch 1 30)
callback_module state2 's/return x \* 10 + 1;/return x * 10 + 3;/' < <(state_patch 2 50)
target t "$work/prog"
load_own state1
expect allocated log
expect 30 limit
load_own state2 --replace
expect had:1 log
expect 50 limit
expect 43 call answer 4
expect_status '7/2' '.patches[] | select(.enabled) | .states | map("\(.id)/\(.version)") | join(" ")'
unload state2
expect freed log
expect 10 limit
expect 41 call answer 4
alive
