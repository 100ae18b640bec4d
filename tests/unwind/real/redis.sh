#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# redis-server under the oracle, answering on a socket of its own: the commands of redis.commands, with the replies that they must get, and
# redis-benchmark beside them. Its start takes more than 8 million instructions; the rest of the steps are answers.
# usage: redis.sh ORACLE [OPTION...] STEPS
set -eu
here=$(cd "$(dirname "$0")" && pwd)
oracle=$1
shift
work=$(mktemp -d "${TMPDIR:-/tmp}/klp-oracle-redis.XXXXXX")
pid=""
bench=""
# shellcheck disable=SC2317 # by the trap
cleanup() {
	[ -n "$pid" ] && kill -TERM "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
	[ -n "$bench" ] && wait "$bench" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT
# The oracle ends early, and its figures are printed.
trap 'kill -TERM "$pid" 2>/dev/null || true' TERM
cut -d '|' -f 1 "$here/redis.commands" >"$work/commands"
cut -d '|' -f 2 "$here/redis.commands" >"$work/expected"
"$oracle" "$@" redis-server --port 0 --unixsocket "$work/socket" --save '' --appendonly no --dir "$work" --logfile "$work/log" >"$work/out" &
pid=$!
while kill -0 "$pid" 2>/dev/null && [ ! -S "$work/socket" ]; do sleep 0.2; done
# Its keys are in another database. Each client gives up when the server has been ended.
(
	while kill -0 "$pid" 2>/dev/null; do
		timeout -k 1 600 redis-benchmark -s "$work/socket" --dbnum 1 -q -c 4 -n 20 -t set,get,incr,lpush,lpop,sadd,hset,spop,zadd,lrange_100,mset || true
		sleep 0.5
	done >"$work/bench" 2>&1
) &
bench=$!
answers=0 wrong=0
while kill -0 "$pid" 2>/dev/null; do
	timeout -k 1 600 redis-cli -s "$work/socket" <"$work/commands" >"$work/replies" 2>/dev/null || true
	n=0
	while read -r reply <&3 && read -r expected <&4; do
		if [ "$reply" = "$expected" ]; then
			n=$((n + 1))
			continue
		fi
		case $reply in
		*"Connection refused"* | *"Server closed"* | *"Could not connect"* | '') ;; # it has been ended
		*)
			wrong=$((wrong + 1))
			echo "command $((n + 1)) was answered with '$reply' instead of '$expected'" >&2
			;;
		esac
		break
	done 3<"$work/replies" 4<"$work/expected"
	answers=$((answers + n))
	[ $wrong -eq 0 ] || kill -TERM "$pid"
done
status=0
wait "$pid" || status=$?
while kill -0 "$pid" 2>/dev/null; do # the wait was interrupted
	status=0
	wait "$pid" || status=$?
done
pid=
wait "$bench" || true
bench=
cat "$work/out"
echo "$answers commands were answered as they must be, $wrong were not; of redis-benchmark's tests of 20 requests each $(grep -o 'requests per second' "$work/bench" | wc -l) ended"
if [ $wrong -eq 0 ] && [ $answers -eq 0 ]; then
	echo "nobody was answered: give it more than the 8 million steps of its start" >&2
fi
[ $wrong -eq 0 ] && [ $answers -gt 0 ] || exit 1
exit $status
