#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Callbacks in the kernel's order, each on a thread of the program that goes home: errno, the answers and a second round are as before.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module fix 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(all_four "")
target t "$work/prog"
for _ in 1 2; do
	expect 41 call answer 4
	load_own fix
	events "enabling patch 'fix'" "'fix': initializing patching transition" "'fix': pre_patch callback" "'fix': starting patching transition" \
		"'fix': completing patching transition" "'fix': patching complete" "'fix': post_patch callback"
	expect_result "pre_patch post_patch" '[.callbacks[].name] | join(" ")'
	expect_result true '[.callbacks[] | .us > 0 and .result == 0] | all'
	expect "pre_patch post_patch" log
	expect 77 errno
	expect 42 call answer 4
	load_own fix
	expect_result skipped .result
	expect "" log
	unload fix
	events "'fix': initializing unpatching transition" "'fix': pre_unpatch callback" "'fix': starting unpatching transition" \
		"'fix': completing unpatching transition" "'fix': unpatching complete" "'fix': post_unpatch callback"
	expect "pre_unpatch post_unpatch" log
	expect_status 0 '[.patches[] | select(.enabled)] | length'
done
expect 41 call answer 4
alive
