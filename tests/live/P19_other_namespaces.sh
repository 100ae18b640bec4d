#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A target in a pid and mount namespace of its own and in a chroot: patched from outside by its pid out here.
. "$(dirname "$0")/lib.sh"
begin
unshare --pid --mount --fork true 2>"$work/err" || skip "no new namespaces: $(cat "$work/err")"
mkdir "$work/root"
cp "$live/static/target" "$work/root/"
target t unshare --pid --mount --fork --kill-child chroot "$work/root" /target
inner=
for c in $(cat "/proc/$(p)/task/$(p)/children"); do inner=$c; done
[ -n "$inner" ] || die "no child of unshare"
[ "$(awk '/^NSpid/ {print $NF}' "/proc/$inner/status")" = 1 ] || die "it has no pid namespace of its own"
expect 41 call answer 4
ctl 0 load -v --json -p "$inner" "$(module fix-static)"
expect 42 call answer 4
expect 42 fork 4
[ "$("$klpctl" status --json -p "$inner" | jq -r '.processes[0].patches[0].name')" = fix-static ] || die "status does not show it"
for f in "$work"/root/* "$work"/root/.[!.]*; do
	[ ! -e "$f" ] || [ "$f" = "$work/root/target" ] || die "something was left in its root: $f"
done
ctl 0 unload -v --json -p "$inner" fix-static
expect 41 call answer 4
