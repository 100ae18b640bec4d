#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# K05: what fails of a klpctl watch because the object moves under it, or because somebody else works on the process, is said once and tried again at the next looks: loads, and unloads of
# what was loaded for an object that went.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/plugin.sh"
begin
plugin_program
plugin_patch fix 's/VERSION 1/VERSION 2/'
target t "$work/prog" "$work/plugin.so"
"$build/bin/live_watch_fails" "$(p)" "$work/fix.klp" 5 3 >"$work/watched" 2>"$work/events" &
others+=("$!")
watcher=$!
expect 0 open
happened 1 came "done"
happened 1 came refused
expect 2 call
expect 0 close
happened 1 went refused
happened 1 went "done"
expect_status 0 '.patches | length'
expect 0 open
happened 2 came "done"
happened 1 came refused
expect 2 call
expect 0 close
happened 2 went "done"
happened 1 went refused
expect_status 0 '.patches | length'
kill -KILL "$(p)"
wait $watcher || die "the watch ended with $?"
