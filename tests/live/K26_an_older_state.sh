#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A patch that knows an installed state in an earlier version, or would replace it without knowing it, is refused; nothing has happened to the
# installed patch and none of the new one's callbacks ran.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module state1 's/return x \* 10 + 1;/return x * 10 + 4;/' < <(state_patch 1 30)
callback_module state2 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(state_patch 2 50)
callback_module none 's/return x \* 100 + 1;/return x * 100 + 2;/' < <(all_four "")
target t "$work/prog"
load_own state2
expect allocated log
before=$(fingerprint "$(p)")
RC=4 load_own state1 --replace
expect_reason STATE
expect_result true '.message | contains("state 7 in version 1") and contains("version 2")'
RC=4 load_own state1
expect_reason STATE
RC=4 load_own none --replace
expect_reason STATE
expect_result true '.message | contains("without its state 7")'
ctl 4 check --json -p "$(p)" "$work/state1.klp"
expect_reason STATE
[ "$(fingerprint "$(p)")" = "$before" ] || die "a load that was refused left something in the target"
expect "" log
expect 42 call answer 4
expect 50 limit
expect_status state2 '[.patches[] | select(.enabled)] | map(.name) | join(" ")'
load_own none
expect "pre_patch post_patch" log
unload none
expect "pre_unpatch post_unpatch" log
unload state2
expect freed log
expect 10 limit
alive
