#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A thread sleeps in the function that is replaced: the transition stays pending, unload reverses it, and of the callbacks behind pre_patch only
# post_unpatch runs. An unload that is reversed runs post_patch again.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module fix 's/return 100 + c;/return 200 + c;/' < <(all_four "")
target t "$work/prog"
asleep
RC=5 load_own fix --timeout 0.5
expect_reason PENDING
expect "pre_patch" log
expect_status enabling '.patches[0].state'
unload fix
events "'fix': reversing transition from patching to unpatching" "'fix': unpatching complete" "'fix': post_unpatch callback"
expect "post_unpatch" log
ask wake
wait_for 5 eval 'ask slept; [ "$REPLY" = 100 ]' || die "the old function answered $REPLY, expected 100"
load_own fix
expect "pre_patch post_patch" log
asleep
RC=5 unload fix --timeout 0.5
expect "pre_unpatch" log
load_own fix
events "'fix': reversing transition from unpatching to patching" "'fix': patching complete" "'fix': post_patch callback"
expect "post_patch" log
ask wake
wait_for 5 eval 'ask slept; [ "$REPLY" = 200 ]' || die "the new function answered $REPLY, expected 200"
unload fix
expect "pre_unpatch post_unpatch" log
alive
