#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Which thread runs a callback (hazard B8): none that is inside the C library or a signal handler or has too little stack, and then the load is
# refused; one that waits in a call of its own does, however deep its wrapper is, and keeps its red zone, its vector registers and its errno.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module fix 's/return x \* 10 + 1;/return x * 10 + 2;/' <<-'C'
	#include <stdio.h>
	#include <stdlib.h>
	static int pre(void)
	{
		volatile char room[40000];
		char buf[64];

		for (unsigned i = 0; i < sizeof(room); i += 512)
			room[i] = 1;
		snprintf(buf, sizeof(buf), "%.3f", (double)limit * 1.5);
		free(malloc(100000));
		note(buf);
		errno = 5;
		return 0;
	}
	KLP_PRE_PATCH(pre);
C
refused() { # TEXT: a load finds no thread, says so, and changes nothing
	RC=4 load_own fix --timeout 1
	expect_reason NO_CALLBACK_THREAD
	expect_result true ".message | contains(\"$1\")"
	expect_result 0 '.callbacks | length'
	expect "" log
	expect 41 call answer 4
	expect_status 0 '.patches | length'
}
target t "$work/prog" --stdio
refused "it is inside libc.so"
ask sleep 16384
sleep 0.2
refused "too little room on its stack"
target t2 "$work/prog" --stdio
ask handler
sleep 0.2
refused "a signal handler is on its stack"
target timed "$work/prog" --poll
load_own fix
expect 15.000 log
expect 42 call answer 4
unload fix
target waiting "$work/prog" --stdio
ask sigwait
sleep 0.1
load_own fix
expect 15.000 log
expect 42 call answer 4
unload fix
target t3 "$work/prog" --stdio
ask keep
sleep 0.2
before=$(maps)
load_own fix
expect 15.000 log
expect 42 call answer 4
ask wake
wait_for 5 eval 'ask kept; [ "$REPLY" != -1 ]' || die "the thread did not come back"
expect 1 kept
unload fix
[ "$(maps | grep -v ' $')" = "$(printf '%s\n' "$before" | grep -v ' $')" ] || die "mappings changed"
alive
