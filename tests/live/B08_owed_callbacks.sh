#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Behind a transition there is no thread any more that may run the callback: it is owed, status says so, and the next command runs it. Before
# an unload there is none: refused, the patch stays.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module fix 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(all_four "" | sed '0,/return 0;/s//wake();\n\treturn 0;/')
target t "$work/prog" --stdio
ask keep
sleep 0.2
RC=5 load_own fix --timeout 1
expect_reason PENDING
expect_result true '.message | contains("post_patch callback of patch") and contains("it is run by the next load or unload")'
expect "pre_patch" log
expect 42 call answer 4
expect_status enabled '.patches[0].state'
expect_status "post_patch owed" '.patches[0].callback | "\(.name) \(.state)"'
RC=5 load_own fix --timeout 1
RC=5 unload fix --timeout 1
expect "" log
ask keep
sleep 0.2
load_own fix
expect_result "done" .result
expect_result post_patch '.callbacks[].name'
expect post_patch log
expect_status null '.patches[0].callback'
load_own fix
expect_result skipped .result
ask wake
wait_for 5 eval 'ask kept; [ "$REPLY" = 1 ]' || die "the thread did not come back"
RC=4 unload fix --timeout 1
expect_reason NO_CALLBACK_THREAD
expect_status enabled '.patches[0].state'
expect 42 call answer 4
ask keep
sleep 0.2
unload fix
expect "pre_unpatch post_unpatch" log
expect 41 call answer 4
alive
