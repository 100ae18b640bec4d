#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A module's object that a process does not have: no callback runs there, and nothing is touched; in a process that has it they do.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module fix 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(all_four "")
start without
without=$(fingerprint "$(p)")
target with "$work/prog"
use without
RC=3 load_own fix
expect_reason NO_OBJECT
expect_result 0 '.callbacks | length'
[ "$(fingerprint "$(p)")" = "$without" ] || die "the process without the object was touched"
use with
load_own fix
expect "pre_patch post_patch" log
use without
RC=0 unload fix
expect_result skipped .result
expect_result 0 '.callbacks | length'
use with
unload fix
expect "pre_unpatch post_unpatch" log
alive
