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
for command in "load -p $pid $work/fix.klp" "unload -p $pid fix"; do
	sleep 0.2
	# shellcheck disable=SC2086 # words
	"$build/bin/klpctl" ${command%% *} --timeout 60 ${command#* }
	kill -0 "$pid"
done
