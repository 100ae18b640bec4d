#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# lost-test.sh ARCH: a guest that panics, and one that does not answer, are ended and reported with their console; no guest outlives its owner.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
arch=$1
work=$(mktemp -d "${TMPDIR:-/tmp}/klp-vm.XXXXXX") || exit 1
export KLP_GUEST_DIR=$work/guests KLP_GUEST_GRACE=10 KLP_GUEST_FREEZE=1000
owner=
failed=0
cleanup() {
	[ -n "$owner" ] && kill -KILL "$owner" 2>/dev/null
	KLP_GUEST_OWNER=$$ "$root/scripts/guest" stop "$arch"
	rm -rf "${work:?}"
}
trap cleanup EXIT
trap 'exit 143' TERM INT

guest() { KLP_GUEST_OWNER=$$ "$root/scripts/guest" run -s "$work" "$@"; }
fail() {
	printf 'FAILED: %s\n' "$*" >&2
	failed=1
}
emulator() { cat "$work/guests/$arch-$1"-*/pid 2>/dev/null; }

guest "$arch" true || { status=$?; [ $status = 77 ] && exit 77; fail "the guest does not run: $status"; exit 1; }

# A panic ends a command at once, with the kernel's words.
first=$(emulator $$)
guest -t 300 "$arch" sh -c 'echo c >/proc/sysrq-trigger; sleep 1000' >"$work/out" 2>"$work/err" && fail "a command of a guest that panicked succeeded"
grep -q 'guest ended during a command' "$work/err" || fail "no word about the end: $(tail -3 "$work/err")"
grep -q 'sysrq triggered crash' "$work/err" || fail "the console is not shown: $(tail -3 "$work/err")"
kill -0 "$first" 2>/dev/null && fail "the emulator of a guest that panicked is still there"

# The next command gets another guest. That one freezes.
[ "$(guest "$arch" echo again)" = again ] || fail "no guest after one that panicked"
second=$(emulator $$)
[ -n "$second" ] && [ "$second" != "$first" ] || fail "the second guest is the first"
guest -t 20 "$arch" sh -c "touch $work/begun; sleep 1000" >"$work/out" 2>"$work/err" &
caller=$!
until [ -e "$work/begun" ]; do sleep 0.1; done
kill -STOP "$second"
wait "$caller" && fail "a command of a guest that froze succeeded"
grep -q 'did not end a command' "$work/err" || fail "no word about the freeze: $(tail -3 "$work/err")"
kill -0 "$second" 2>/dev/null && fail "the emulator of a guest that froze is still there"

# One that is frozen already does not even begin.
guest "$arch" true || fail "no guest after one that froze"
kill -STOP "$(emulator $$)"
KLP_GUEST_ANSWER=3 guest -t 1000 "$arch" true >"$work/out" 2>"$work/err" && fail "a command of a frozen guest succeeded"
grep -q 'does not answer' "$work/err" || fail "no word about the frozen guest: $(tail -3 "$work/err")"
guest "$arch" true >"$work/out" 2>"$work/err" && fail "a fourth guest after three that were lost"
grep -q 'no further one is started' "$work/err" || fail "no word about the guests that were lost: $(tail -3 "$work/err")"

# A guest of another owner. A processor that freezes in the middle of a command is noticed, and the command is run once more by another guest; that one goes
# when the owner is killed, and leaves no file.
sleep 1000 &
owner=$!
KLP_GUEST_OWNER=$owner KLP_GUEST_FREEZE=5 "$root/scripts/guest" run -s "$work" "$arch" \
	sh -c "[ -e $work/froze ] || { touch $work/froze; sleep 1000; }; echo the second time" >"$work/out" 2>"$work/err" &
caller=$!
until [ -e "$work/froze" ]; do sleep 0.1; done
sleep 5 # its processors have been heard
kill -STOP "$(emulator $owner)"
wait "$caller" || fail "a command of a guest that froze was not run once more: $(tail -3 "$work/err")"
[ "$(cat "$work/out")" = "the second time" ] || fail "the command's second run: $(cat "$work/out")"
grep -q 'does not run any more' "$work/err" || fail "the console does not say which processor froze: $(tail -3 "$work/err")"
third=$(emulator $owner)
[ -n "$third" ] || fail "the other owner's guest has no emulator"
kill -KILL "$owner" && wait "$owner" 2>/dev/null
for ((i = 0; i < 200; i++)); do
	kill -0 "$third" 2>/dev/null || compgen -G "$work/guests/$arch-$owner-*" >/dev/null || break
	sleep 0.1
done
kill -0 "$third" 2>/dev/null && fail "a guest outlives its owner"
compgen -G "$work/guests/$arch-$owner-*" >/dev/null && fail "files of a guest outlive its owner: $(ls "$work"/guests/*)"
owner=
exit $failed
