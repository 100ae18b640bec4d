#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# static-test.sh KLPCTL PROGRAM: every thread of the parked program has a reliable stack.
set -u
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null' EXIT
for arg in "" threads; do
	want=1
	[ -z "$arg" ] || want=4
	# shellcheck disable=SC2086
	"$2" $arg </dev/null &
	pid=$!
	n=0
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		sleep 0.2
		out=$("$1" stack -p "$pid") || continue
		n=$(echo "$out" | grep -c '^[0-9].*: reliable$')
		[ "$n" -eq "$want" ] && break
	done
	kill "$pid"
	wait "$pid" 2>/dev/null
	pid=
	if [ "$n" -ne "$want" ]; then
		echo "$2 $arg: $n of $want threads have a reliable stack"
		echo "$out"
		exit 1
	fi
done
