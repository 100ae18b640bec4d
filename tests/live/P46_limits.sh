#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A target at its RLIMIT_AS or RLIMIT_NPROC: refused with a reason, unharmed, and patched when there is room again.
. "$(dirname "$0")/lib.sh"
begin
start
command -v prlimit >/dev/null || skip "prlimit is not installed"
vsize=$(awk '{print $1 * 4096}' "/proc/$(p)/statm")
before=$(text_print "$(p)")
prlimit --pid "$(p)" --as=$vsize:unlimited
RC=1,4 load fix
expect_reason NO_ROOM
[ "$(text_print "$(p)")" = "$before" ] || die "a refused load changed the target's text"
expect 41 call answer 4
prlimit --pid "$(p)" --as=unlimited:unlimited
load fix
expect 42 call answer 4
if [ "$(id -u)" != 0 ] || ! command -v setpriv >/dev/null; then
	echo "NOTE: not root, RLIMIT_NPROC was not tried"
	exit 0
fi
mkdir -m 755 "$work/pub" && chmod 755 "$work"
install -m 755 "$live/dynamic/target" "$live/dynamic/libaux.so" "$work/pub/"
as_user='setpriv --reuid 65531 --regid 65531 --clear-groups'
target n $as_user "$work/pub/target"
$as_user prlimit --pid "$(p)" --nproc=1: || die "cannot set RLIMIT_NPROC"
before=$(text_print "$(p)")
RC=1,4 load fix
case $(result .reason) in NO_ROOM | HELPER | NO_BORROW) ;; *) die "RLIMIT_NPROC: reason $(result .reason)" ;; esac
[ "$(text_print "$(p)")" = "$before" ] || die "a refused load changed the target's text"
expect 41 call answer 4
$as_user prlimit --pid "$(p)" --nproc=1000: || die "cannot raise RLIMIT_NPROC"
load fix
expect 42 call answer 4
