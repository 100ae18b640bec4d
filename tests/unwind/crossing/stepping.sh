#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A program whose only thread steps itself by the trap flag, all the time: klp must take that thread as it runs. A trap of klp's own code, where
# every signal is blocked, would end the program.
# usage: stepping.sh BUILD
set -eu
build=$1
. "$(dirname "$0")/build.sh"
"$work/target" &
pid=$!
# Between a trap and its handler a signal is pending, and the thread is not borrowed: klpctl looks once a second, for five seconds, and may have had
# no luck.
take() { # COMMAND OPERAND...
	local command=$1 try
	shift
	for try in 1 2 3 4 5 6; do
		"$build/bin/klpctl" "$command" --timeout 60 -p $pid "$@" && return
		kill -0 $pid || return
		echo "try $try of $command"
	done
	echo "SKIPPED: a signal was pending for the thread whenever klpctl looked" >&2
	exit 77
}
# Only a thread that is caught outside its handler has the flag: several times.
for command in "load $work/fix.klp" "unload fix" "load $work/fix.klp" "unload fix" "load $work/fix.klp" "unload fix"; do
	sleep 0.2
	# shellcheck disable=SC2086 # words
	take $command
	kill -0 $pid
done
