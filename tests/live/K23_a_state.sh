#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A state: allocated in pre_patch, applied in post_patch, restored in pre_unpatch, freed in post_unpatch; shown by status and info.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module state1 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(state_patch 1 30)
target t "$work/prog"
[ "$("$klpctl" info --json "$work/state1.klp" | jq -c '.states | map({id, version})')" = '[{"id":7,"version":1}]' ] || die "info does not show the state"
"$klpctl" info "$work/state1.klp" | grep -q 'state: *7, version 1' || die "info does not print the state"
for _ in 1 2; do
	expect 10 limit
	load_own state1
	expect allocated log
	expect 30 limit
	expect_status '7/1' '.patches[] | select(.enabled) | .states | map("\(.id)/\(.version)") | join(" ")'
	unload state1
	expect 10 limit
	expect freed log
done
alive
