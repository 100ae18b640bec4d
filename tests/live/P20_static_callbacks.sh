#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A static program holds its C library itself: what belongs to it is told by the patch sites, which it does not have.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program -static
callback_module fix 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(all_four "")
target stdio "$work/prog" --stdio
RC=4 load_own fix --timeout 1
expect_reason NO_CALLBACK_THREAD
expect_result true '.message | contains("it is inside the C library")'
expect 41 call answer 4
target t "$work/prog"
load_own fix
expect 77 errno
expect "pre_patch post_patch" log
expect 42 call answer 4
unload fix
expect "pre_unpatch post_unpatch" log
alive
