#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# pre_patch returns an error: the load fails with it, everything is undone, no other callback runs. The next load asks again.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module fix 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(all_four "" | sed 's/return 0;/return limit > 10 ? 0 : -19;/')
callback_module lift 's/return x \* 100 + 1;/return x * 100 + 2;/' <<-'C'
	static int lift(void)
	{
		limit += 5;
		return limit < 16 ? -22 : 0;
	}
	KLP_PRE_PATCH(lift);
	static void lower(void)
	{
		limit--;
	}
	KLP_POST_UNPATCH(lower);
C
target t "$work/prog"
RC=4 load_own fix
expect_reason CALLBACK
expect_result true '.message | contains("returned -19 (No such device)")'
events "'fix': pre_patch callback"
grep -q "starting patching" "$work/events" && die "a transition was started"
expect_result "-19" '.callbacks[0].result'
expect pre_patch log
expect 41 call answer 4
expect_status 0 '[.patches[] | select(.enabled or .transition != null or .callback != null)] | length'
unload fix
expect_result skipped .result
expect "" log
target t2 "$work/prog"
before=$(maps)
RC=4 load_own lift
expect_result true '.message | contains("returned -22 (Invalid argument)")'
expect 15 limit
expect 401 call other 4
expect_status 0 '.patches | length'
[ "$(maps)" = "$before" ] || die "the load that was refused left memory in the target"
load_own lift
expect 20 limit
expect 402 call other 4
unload lift
expect 19 limit
[ "$(maps)" = "$before" ] || die "memory was left in the target"
load_own fix
expect "pre_patch post_patch" log
expect 42 call answer 4
unload fix
expect "pre_unpatch post_unpatch" log
alive
