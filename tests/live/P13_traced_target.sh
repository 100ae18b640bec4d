#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A target that gdb or strace has attached to is refused and unharmed; when the tracer is gone it can be patched.
. "$(dirname "$0")/lib.sh"
begin
start
traced() { [ "$(awk '/^TracerPid/ {print $2}' "/proc/$(p)/status")" != 0 ]; }
for tracer in gdb strace; do
	command -v $tracer >/dev/null || {
		lacks "$tracer is not installed"
		continue
	}
	if [ $tracer = gdb ]; then
		mkfifo "$work/gdb"
		gdb -nx -q -p "$(p)" <"$work/gdb" >"$work/tracer" 2>&1 &
		tool=$!
		exec 9>"$work/gdb"
		echo 'continue' >&9
	else
		strace -f -o /dev/null -p "$(p)" >"$work/tracer" 2>&1 &
		tool=$!
	fi
	others+=("$tool")
	wait_for 20 traced || die "$tracer did not attach: $(tail -3 "$work/tracer")"
	sleep 1
	RC=4 load fix
	expect_reason TRACED
	expect 41 call answer 4
	[ $tracer = gdb ] && exec 9>&-
	kill -INT $tool
	sleep 0.5
	kill -KILL $tool 2>/dev/null
	wait $tool 2>/dev/null
	wait_for 10 eval '! traced' || die "$tracer does not let go"
	kill -CONT "$(p)"
	expect 41 call answer 4
	load fix
	expect 42 call answer 4
	unload fix
done
