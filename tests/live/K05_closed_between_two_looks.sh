#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# K05: an object is closed and opened again between two looks of klpctl watch, at the same place. The watch unloads what was loaded for the mapping that
# went, and loads for the one that came.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/plugin.sh"
begin
plugin_program
plugin_patch fix 's/VERSION 1/VERSION 2/'
target t "$work/prog" "$work/plugin.so"
watch_for fix --interval 1
expect 0 open
happened 1 came "done"
expect 2 call
for ((i = 2; i <= $(full 3 10); i++)); do
	expect 0 close
	expect 0 open
	expect 1 call # nobody has looked yet
	happened $((i - 1)) went "done"
	happened $i came "done"
	expect 2 call
	expect_status armed '.patches[] | select(.enabled) | .functions[0].site'
done
kill -TERM $watcher
wait $watcher || die "klpctl watch ended with $?"
alive
