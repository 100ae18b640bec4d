#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two cumulative patches that know the same version of a state replace each other, back and forth.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module state2 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(state_patch 2 30)
callback_module state3 's/return x \* 10 + 1;/return x * 10 + 3;/' < <(state_patch 2 50)
target t "$work/prog"
load_own state2
expect allocated log
for _ in 1 2; do
	load_own state3 --replace
	expect had:2 log
	expect 50 limit
	expect 43 call answer 4
	load_own state2 --replace
	expect had:2 log
	expect 30 limit
	expect 42 call answer 4
done
unload state2
expect freed log
expect 10 limit
alive
