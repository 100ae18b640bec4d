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
	timeout -k 1 60 redis-benchmark -s "$work/socket" -q -c 4 -n 20 -t set,get,incr,lpush,lpop,sadd,hset,spop,zadd,lrange_100,mset >"$work/client" 2>&1 && answers=$((answers + 1))
	grep -q 'requests per second' "$work/client" && answers=$((answers + 1))
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
if [ $answers -eq 0 ]; then
	echo "redis-server has answered nobody: its start takes some 6 million instructions" >&2
	exit 1
fi
exit $status
