#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A target for which the kernel has no memory (RLIMIT_AS, RLIMIT_DATA: all of it gone, or a little left, so that the refusal comes half-way) or
# no thread (RLIMIT_NPROC): refused with a reason, unharmed, and patched when there is room again.
# vm.overcommit_memory=2 is not tried: it is the whole machine's, would refuse memory to every process beside this test, and a test that is
# killed could not put it back. The engine sees the same of RLIMIT_DATA: mmap says ENOMEM for private writable memory, and for that only.
. "$(dirname "$0")/lib.sh"
begin
start
command -v prlimit >/dev/null || skip "prlimit is not installed"
before=$(text_print "$(p)")

# refused LIMIT BYTES: a load that finds no room says so, and the target is as it was; 1 if there is room.
refused() {
	prlimit --pid "$(p)" --"$1"="$2":unlimited || die "prlimit --$1=$2"
	RC=0,1,4 load fix
	prlimit --pid "$(p)" --"$1"=unlimited:unlimited
	[ "$(result .result)" != 'done' ] || return 1
	expect_reason NO_ROOM
	[ "$(text_print "$(p)")" = "$before" ] || die "a load refused at --$1=$2 changed the target's text"
	expect_status 0 '.patches | length'
	expect 41 call answer 4
}
# limited LIMIT FIELD: from nothing left, page by page, to enough. (The first load that gets far enough leaves klp's runtime there: what the
# target uses is asked each time.)
limited() {
	local pages count=0
	for pages in 0 1 2 4 8 16 32 64 256 512 1024 4096 16384; do
		refused "$1" $(($(awk -v f="$2:" '$1 == f {print $2 * 1024}' "/proc/$(p)/status") + pages * 4096)) || break
		count=$((count + 1))
	done
	[ "$count" -gt 0 ] || die "no load was refused at its --$1"
	echo "--$1: $count loads refused, the next with $pages pages left was not"
	expect 42 call answer 4
	unload fix
	expect 41 call answer 4
}
limited as VmSize
start d # another one: nothing of klp is in it yet
before=$(text_print "$(p)")
limited data VmData
load fix
expect 42 call answer 4
if [ "$(id -u)" != 0 ] || ! command -v setpriv >/dev/null; then
	lacks "not root, RLIMIT_NPROC was not tried"
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
