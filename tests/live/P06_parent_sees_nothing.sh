#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The parent sees no stop, no continue and no SIGCHLD of its child while it is patched.
. "$(dirname "$0")/lib.sh"
begin
target t "$live/dynamic/watch" "$work/seen" "$live/dynamic/target"
watcher=${pid[t]}
wait_for 5 grep -q '^child' "$work/seen" || die "the watcher did not start its child"
child=$(sed -n 's/^child //p' "$work/seen")
pid[t]=$child
others+=("$watcher")
pairs "$(full 20 300)"
load fix
expect 42 call answer 4
[ "$(wc -l <"$work/seen")" = 1 ] || die "the parent saw: $(sed 1d "$work/seen" | head -5)"
# The watcher can see something at all.
kill -STOP "$child"
wait_for 5 grep -q '^stopped' "$work/seen" || die "the watcher does not see a stop: it proves nothing"
kill -CONT "$child"
expect 42 call answer 4
