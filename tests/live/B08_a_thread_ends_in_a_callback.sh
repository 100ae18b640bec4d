#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A callback that ends the thread that runs it: the load fails and says so, the rest of the program goes on, and nothing waits for the thread.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module fix 's/return x \* 10 + 1;/return x * 10 + 2;/' <<-'C'
	static int leave(void)
	{
		note("leave");
		if (limit == 10) {
			limit = 11;
			pthread_exit(NULL);
		}
		return 0;
	}
	KLP_PRE_PATCH(leave);
C
target t "$work/prog" --stdio
ask keep
sleep 0.2
RC=4 load_own fix --timeout 5
expect_reason CALLBACK
expect_result true '.message | contains("ended its thread")'
expect leave log
expect 41 call answer 4
[ "$(find "/proc/$(p)/task" -mindepth 1 -maxdepth 1 | wc -l)" = 1 ] || die "the thread did not end"
expect_status 0 '[.patches[] | select(.enabled or .callback != null)] | length'
ask keep
sleep 0.2
load_own fix
expect leave log
expect 42 call answer 4
unload fix
expect 41 call answer 4
alive
