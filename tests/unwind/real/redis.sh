#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# redis-server under the oracle, answering redis-benchmark on a socket of its own.
# usage: redis.sh ORACLE [OPTION...] STEPS
set -eu
oracle=$1
shift
work=$(mktemp -d "${TMPDIR:-/tmp}/klp-oracle-redis.XXXXXX")
pid=
# shellcheck disable=SC2317 # by the trap
cleanup() {
	[ -n "$pid" ] && kill -TERM "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT
# The oracle ends early, and its figures are printed.
trap 'kill -TERM "$pid" 2>/dev/null || true' TERM
"$oracle" "$@" redis-server --port 0 --unixsocket "$work/socket" --save '' --appendonly no --dir "$work" --logfile "$work/log" >"$work/out" &
pid=$!
answers=0
# Each run gives up when the server has been ended; the first ones when it does not listen yet.
while kill -0 "$pid" 2>/dev/null; do
	[ "$(timeout -k 1 60 redis-cli -s "$work/socket" incr asked 2>/dev/null)" -gt 0 ] 2>/dev/null && answers=$((answers + 1))
	timeout -k 1 300 redis-benchmark -s "$work/socket" -q -c 4 -n 20 -t set,get,incr,lpush,lpop,sadd,hset,spop,zadd,lrange_100,mset >"$work/client" 2>&1 || true
	grep -q 'requests per second' "$work/client" && answers=$((answers + $(grep -o 'requests per second' "$work/client" | wc -l)))
	sleep 0.5
done
status=0
wait "$pid" || status=$?
while kill -0 "$pid" 2>/dev/null; do # the wait was interrupted
	status=0
	wait "$pid" || status=$?
done
pid=
cat "$work/out"
echo "$answers commands or benchmarks were answered"
if [ $answers -eq 0 ]; then
	echo "redis-server has answered nobody: its start takes more than 8 million instructions" >&2
	exit 1
fi
exit $status
