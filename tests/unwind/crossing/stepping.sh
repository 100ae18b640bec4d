#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A program whose only thread steps itself by the trap flag: klp must take that thread as it is. A trap of klp's own code, where every signal is
# blocked, would end the program. It waits in a call, with the flag set; or it runs all the time, and nearly whenever it is looked at a signal is
# on its way.
# usage: stepping.sh BUILD
set -eu
build=$1
. "$(dirname "$0")/build.sh"
for how in waits runs; do
	"$work/target" $how &
	pid=$!
	for command in "load $work/fix.klp" "unload fix" "load $work/fix.klp" "unload fix"; do
		sleep 0.2
		# shellcheck disable=SC2086 # words
		"$build/bin/klpctl" $command --timeout 60 -p $pid
		kill -0 $pid
	done
	kill -KILL $pid
	wait $pid || true
	pid=
done
