#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# K05, K08, K09, K29: klpctl watch patches an object when it comes, gives everything back when it goes, and again. status tells which is when. The
# window is the time between two looks: within it the old code may be called.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/plugin.sh"
begin
plugin_program
plugin_patch fix 's/VERSION 1/VERSION 2/'
target t "$work/prog" "$work/plugin.so"
# Without the object there is nothing to patch; a watch waits for it.
ctl 3 load -v --json -p "$(p)" "$work/fix.klp"
expect 0 open
expect 1 call
expect 0 close
print=$(fingerprint "$(p)")
watch_for fix
expect -1 call
for ((i = 1; i <= $(full 4 50); i++)); do
	expect 0 open
	happened $i came "done"
	expect 2 call
	expect_status enabled '.patches[0].state'
	expect 0 close
	happened $i went "done"
	expect -1 call
	expect_status 0 '.patches | length'
done
[ "$(fingerprint "$(p)")" = "$print" ] || die "the target is not as it was before"
# The watch takes what is there for its own, and goes when it is told to.
expect 0 open
happened $i came "done"
kill -TERM $watcher
wait $watcher || die "klpctl watch ended with $?"
expect 2 call
watch_for fix
sleep 0.3
[ "$(jq -r .event "$work/watched")" = there ] || die "the events are $(cat "$work/watched")"
# It ends with its process.
kill -KILL "$(p)"
wait $watcher || die "klpctl watch ended with $?"
[ "$(jq -rs '.[-1].event' "$work/watched")" = ended ] || die "the last event is $(tail -1 "$work/watched")"
