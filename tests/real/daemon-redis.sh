# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # work, started: lib.sh's
# redis under redis-benchmark; $clients is the directory of its clients. Sourced after lib.sh.

redis_start() {
	port=$(real_free_port)
	"$1" --port "$port" --bind 127.0.0.1 --save '' --appendonly no --io-threads 2 --dir "$work" --logfile "$work/redis.log" &
	server=$!
	started+=("$server")
	real_wait_port "$port"
}

redis_stop() {
	kill "$server"
	wait "$server" || true
}

# The load: an endless redis-benchmark; it ends by itself at the first reply that is an error.
load_start() {
	"$clients/redis-benchmark" -h 127.0.0.1 -p "$port" -l -q -c 16 -t set,get,incr,lpush,lpop,hset --threads 2 >"$work/bench.txt" 2>&1 &
	load=$!
	started+=("$load")
	sleep 1
}
load_stop() {
	kill -0 "$load" 2>/dev/null || { tail -c 1000 "$work/bench.txt" >&2; die "redis-benchmark ended before it was told to"; }
	kill "$load"
	wait "$load" || true
	if grep -aiE 'error|closed|refused|reset' "$work/bench.txt" >&2; then
		die "requests failed under the load"
	fi
	say "  under load: no request failed, $("$clients/redis-cli" -p "$port" INFO stats | sed -n 's/^total_commands_processed:\([0-9]*\).*/\1/p') commands so far"
}
