#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the oracle steps through in bash, again and again: functions that recurse, subshells, traps, pipes, children that execute others.
round=${ORACLE_ROUND:-0}
fib() { if (($1 < 2)); then echo "$1"; else echo $(($(fib $(($1 - 1))) + $(fib $(($1 - 2))))); fi; }
depth() { if [ "$1" -gt 0 ]; then depth $(($1 - 1)); fi; }
caught=0
trap 'caught=$((caught + 1)); depth 3' USR1
trap 'caught=$((caught + 100))' EXIT
for i in 1 2 3 4; do
	kill -USR1 $$
	case $i in
	1) depth 12 ;;
	2) x=$(fib 3) ;;
	3) (depth 4; exit 3) ;;
	*) x=${round//1/22} ;;
	esac
	[[ $x =~ ^[0-9]+$ ]] && x="${x#0}"
done
declare -A map
for word in one two three four five; do map[$word]=${#word}; done
printf '%s\n' "${!map[@]}" | sort -r | while read -r word; do :; done
echo "$caught ${map[three]} $((round % 7))" >/dev/null
