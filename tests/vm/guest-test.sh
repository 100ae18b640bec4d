#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# guest-test.sh ARCH: what scripts/guest promises of commands: output, status, time limit, directories, leftovers, and two at once.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
arch=$1
work=$(mktemp -d "${TMPDIR:-/tmp}/klp-vm.XXXXXX") || exit 1
export KLP_GUEST_OWNER=$$ KLP_GUEST_DIR=$work/guests
failed=0
cleanup() {
	"$root/scripts/guest" stop "$arch"
	rm -rf "${work:?}"
}
trap cleanup EXIT
trap 'exit 143' TERM INT

guest() { "$root/scripts/guest" run -s "$work" -t "${limit:-120}" "$arch" "$@"; }
fail() {
	printf 'FAILED: %s\n' "$*" >&2
	failed=1
}
is() { # WANT GOT WHAT
	[ "$1" = "$2" ] || fail "$3: '$2', expected '$1'"
}

out=$(guest uname -m) || { status=$?; [ $status = 77 ] && exit 77; fail "the guest does not run: $status"; exit 1; }
is "$arch" "$out" "the machine"
is 0 "$(guest id -u)" "the user"

# Every byte of the output, with and without a last newline, and the status.
printf 'a\n\n  b\\n\t%%s\nend' >"$work/text"
guest cat "$work/text" >"$work/out"
is 0 $? "the status of a command that succeeds"
cmp -s "$work/text" "$work/out" || fail "the output is not what the command wrote: $(od -c "$work/out" | head -5)"
guest bash -c 'echo to stderr >&2; exit 77' >"$work/out"
is 77 $? "the status of a command that is skipped"
is "to stderr" "$(cat "$work/out")" "what comes by standard error"
guest sh -c 'kill -SEGV $$' >"$work/out" 2>&1
is 139 $? "the status of a command that a signal ends"
guest /nonexistent >"$work/out" 2>&1
is 127 $? "the status of a command that is not there"
is "a  b 'c" "$(guest printf '%s' "a  b 'c")" "an argument"

# The host's directories, at once in both directions; the tree only to read.
guest sh -c "echo from the guest >$work/new"
is "from the guest" "$(cat "$work/new" 2>&1)" "a file that the guest wrote"
echo again >"$work/new"
is again "$(guest cat "$work/new")" "a file that the host changed"
guest touch "$root/guest-was-here" >"$work/out" 2>&1 && fail "the guest may write to the source tree"
is "$root" "$(cd "$root" && guest pwd)" "the directory"
is 5 "$(KLP_VM_TEST=5 guest sh -c 'echo $KLP_VM_TEST')" "a variable KLP_*"

# What exceeds its time is ended with all that it started, and so is what a command leaves.
limit=3 guest bash -c 'setsid sleep 1000 & sleep 1000' >"$work/out" 2>"$work/err"
is 124 $? "the status of a command that exceeds its time"
grep -q 'ended after its 3 s' "$work/err" || fail "no word about the time: $(cat "$work/err")"
guest bash -c 'setsid sleep 1000 >/dev/null 2>&1 & (sleep 1000 &) ; echo left' >"$work/out"
is 0 $? "the status of a command that leaves processes"
is 0 "$(guest sh -c 'ps ax | grep -c "[s]leep 1000"')" "processes that are left"

guest sh -c 'ps ax' | grep -q '[s]leep' && fail "the agent leaves sleeps"

# Two at a time, and a third that waits. The first two end only together.
guest bash -c "touch $work/one; until [ -e $work/two ]; do sleep 0.1; done" &
first=$!
guest bash -c "touch $work/two; until [ -e $work/one ]; do sleep 0.1; done" &
second=$!
is three "$(guest echo three)" "a third command"
wait $first || fail "the first of two commands: $?"
wait $second || fail "the second of two commands: $?"

# A caller that is told to end takes its command along; its lane serves the next.
"$root/scripts/guest" run -t 600 "$arch" bash -c "touch $work/begun; sleep 1000" &
first=$!
until [ -e "$work/begun" ]; do sleep 0.1; done
kill -TERM $first
wait $first 2>/dev/null
"$root/scripts/guest" run -t 600 "$arch" bash -c "touch $work/begun2; sleep 1000" &
first=$!
until [ -e "$work/begun2" ]; do sleep 0.1; done
kill -KILL $first
wait $first 2>/dev/null
for i in 1 2 3; do is "$i" "$(guest echo $i)" "a command after those that lost their callers"; done
is 0 "$(guest sh -c 'ps ax | grep -c "[s]leep 1000"')" "processes of callers that are gone"

# What the host does for it.
mkdir "$work/bin"
printf '#!/bin/sh\necho "klp-build of the host: $*"; exit 4\n' >"$work/bin/klp-build"
chmod +x "$work/bin/klp-build"
# shellcheck disable=SC2016 # the guest's
out=$("$root/scripts/guest" run -s "$work" -b "$work/bin" "$arch" bash -c 'cd $TMPDIR && echo "int main(void) { return 7; }" | gcc -x c -o a - &&
	file -b a | cut -d, -f2; ./a; echo "status $?"; gcc nothing.c 2>/dev/null; echo "status $?"; klp-build -x "y z"; echo "status $?"')
case $arch in
aarch64) name=" ARM aarch64" ;;
riscv64) name=" UCB RISC-V" ;;
esac
is "$name
status 7
status 1
klp-build of the host: -x y z
status 4" "$out" "builds by the host"
compgen -G "$work/guest-tmp.*" >/dev/null && fail "a directory of a build is left"
exit $failed
