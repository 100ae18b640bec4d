#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A callback that does not return: klpctl ends at its timeout and says so, status shows it, other commands wait for it and end alike; when it has
# returned the next command undoes what was begun, and the load can be done.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module fix 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(slow_pre_patch)
callback_module two 's/return x \* 100 + 1;/return x * 100 + 2;/' </dev/null
export GO=$work/go
target t "$work/prog"
RC=5 load_own fix --timeout 0.5
expect_reason PENDING
expect_result true '.message | contains("pre_patch callback of patch") and contains("has not returned")'
expect_status pre_patch '.patches[0].callback.name'
expect_status running '.patches[0].callback.state'
"$klpctl" status -p "$(p)" | grep -q "its pre_patch callback is running" || die "status does not print the callback"
for command in "load_own fix" "load_own two" "unload fix"; do
	RC=5 $command --timeout 0.3
	expect_reason PENDING
done
sleep 3 # longer than the helper stays
RC=5 unload fix --timeout 0.3
touch "$GO"
expect 41 call answer 4
unload fix
expect_result "done" .result
expect "begin end undone" log
expect_status 0 '[.patches[] | select(.enabled or .callback != null)] | length'
load_own fix
expect "begin end" log
expect 42 call answer 4
unload fix
expect undone log
alive
