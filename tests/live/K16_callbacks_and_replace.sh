#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Atomic replace: only the new patch's callbacks run; those of the replaced one never, neither then nor at the end. A replacement whose pre_patch
# refuses, or that is reversed, leaves the old patch with its callbacks.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module old 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(all_four ":old")
callback_module new 's/return x \* 10 + 1;/return x * 10 + 3;/;s/return 100 + c;/return 200 + c;/' < <(all_four ":new")
callback_module bad 's/return x \* 10 + 1;/return x * 10 + 4;/' < <(all_four ":bad" | sed 's/return 0;/return -16;/')
target t "$work/prog"
load_own old
expect "pre_patch:old post_patch:old" log
RC=4 load_own bad --replace
expect "pre_patch:bad" log
expect 42 call answer 4
asleep
RC=5 load_own new --replace --timeout 0.5
unload new
expect "pre_patch:new post_unpatch:new" log
expect 42 call answer 4
unload old
expect "pre_unpatch:old post_unpatch:old" log
ask wake
load_own old
expect "pre_patch:old post_patch:old" log
load_own new --replace
expect "pre_patch:new post_patch:new" log
expect 43 call answer 4
expect_status new '[.patches[] | select(.enabled)] | map(.name) | join(" ")'
unload new
expect "pre_unpatch:new post_unpatch:new" log
RC=0 unload old
expect_result skipped .result
expect "" log
expect 41 call answer 4
alive
