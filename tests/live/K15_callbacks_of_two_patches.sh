#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two patches on top of each other: each command runs the callbacks of its own patch, in either order of unloading.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module one 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(all_four ":one")
callback_module two 's/return x \* 100 + 1;/return x * 100 + 2;/' < <(all_four ":two")
target t "$work/prog"
for order in "two one" "one two"; do
	load_own one
	expect "pre_patch:one post_patch:one" log
	load_own two
	expect "pre_patch:two post_patch:two" log
	expect 42 call answer 4
	expect 402 call other 4
	for name in $order; do
		unload "$name"
		expect "pre_unpatch:$name post_unpatch:$name" log
	done
	expect 41 call answer 4
	expect 401 call other 4
done
alive
