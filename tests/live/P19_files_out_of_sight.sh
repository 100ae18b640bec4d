#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A dynamic target in a chroot and in namespaces of its own, whose program and libraries the tool cannot open by the names that /proc/PID/maps shows (they are deleted, and
# other files stand at those names): what is mapped decides, and the patch works on all of its threads.
. "$(dirname "$0")/lib.sh"
begin
unshare --pid --mount --fork true 2>"$work/err" || skip "no new namespaces: $(cat "$work/err")"
root_of=$work/root
mkdir "$root_of"
cp "$live/dynamic/target" "$root_of/"
while read -r file; do
	mkdir -p "$root_of${file%/*}"
	cp -L "$file" "$root_of$file" || die "no copy of $file"
done < <(ldd "$live/dynamic/target" | grep -o '/[^ ]*')
target t env LD_LIBRARY_PATH="$live/dynamic" unshare --pid --mount --fork --kill-child chroot "$root_of" /target
inner=
for c in $(cat "/proc/$(p)/task/$(p)/children"); do inner=$c; done
[ -n "$inner" ] || die "no child of unshare"
ask births
ask pairs 2 1
find "$root_of" -type f | while read -r file; do
	rm "$file"
	echo "something else" >"$file"
done
grep -q 'target (deleted)' "/proc/$inner/maps" || die "the program's file is not deleted"
expect 41 call answer 4
ctl 0 load -v --json -p "$inner" "$(module fix)"
expect 42 call answer 4
expect 42 fork 4
ctl 0 unload -v --json -p "$inner" fix
expect 41 call answer 4
ctl 0 load -v --json --timeout 20 -p "$inner" "$(module pair)"
ask mixes
read -r calls mixed _ <<<"$REPLY"
[ "$calls" -gt 0 ] || die "nobody called: $REPLY"
[ "$mixed" = 0 ] || die "$mixed of $calls pairs were mixed"
ctl 0 unload -v --json --timeout 20 -p "$inner" pair
find "$root_of" -type f | while read -r file; do
	[ "$(cat "$file")" = "something else" ] || die "$file was written"
done
