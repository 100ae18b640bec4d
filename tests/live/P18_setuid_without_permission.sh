#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A setuid target and one of another user, patched by an ordinary user: exit status 6, unharmed.
. "$(dirname "$0")/lib.sh"
begin
[ "$(id -u)" = 0 ] || skip "must be root to become somebody else"
command -v setpriv >/dev/null || skip "setpriv is not installed"
start
unprivileged="setpriv --reuid 65534 --regid 65534 --clear-groups"
mkdir -m 755 "$work/pub"
cp "$klpctl" "$(module fix)" "$(module fix-static)" "$work/pub/" && chmod 755 "$work" "$work/pub" && chmod 755 "$work/pub/klpctl" && chmod 644 "$work"/pub/*.klp
for lib in "$build"/klp/libklp.so* "$build"/libklp.so*; do [ -e "$lib" ] && cp -P "$lib" "$work/pub/"; done
before=$(fingerprint "$(p)")
LD_LIBRARY_PATH=$work/pub $unprivileged "$work/pub/klpctl" load --json -p "$(p)" "$work/pub/fix.klp" >"$work/json" 2>"$work/events"
rc=$?
[ $rc = 6 ] || die "load of root's process by another user: exit status $rc, expected 6"
expect_reason PERMISSION
[ "$(fingerprint "$(p)")" = "$before" ] || die "the target was changed"
expect 41 call answer 4
# setuid: started by the user, runs as root
install -m 4755 "$live/static/target" "$work/pub/target" # a setuid program finds no library by $ORIGIN
if findmnt -no OPTIONS -T "$work/pub" | grep -qw nosuid; then skip "$work is mounted nosuid: only the other user's process was tried"; fi
target s $unprivileged "$work/pub/target"
[ "$(awk '/^Uid/ {print $3}' "/proc/$(p)/status")" = 0 ] || die "the target is not setuid root"
LD_LIBRARY_PATH=$work/pub $unprivileged "$work/pub/klpctl" load --json -p "$(p)" "$work/pub/fix-static.klp" >"$work/json" 2>"$work/events"
rc=$?
[ $rc = 6 ] || die "load of a setuid process: exit status $rc, expected 6"
expect 41 call answer 4
