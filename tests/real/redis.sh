#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Debian's redis, its own fix of CVE-2024-51741 (an ACL selector without permissions is accepted), under redis-benchmark.
set -euo pipefail
# shellcheck source=tests/real/lib.sh
. "$(dirname "$0")/lib.sh"

options="MALLOC=libc USE_SYSTEMD=no OPTIMIZATION=-O2 DEBUG=-g V=1"
# Its makefile does not look at the libraries in deps/ again once they are built, so the tree is left unbuilt for klp-build.
redis_build() {
	# shellcheck disable=SC2086 # words
	make -j2 $options CFLAGS="$(cflags_klp)" && rm -rf "$tree.bin" && mkdir "$tree.bin" &&
		cp src/redis-{server,cli,benchmark} "$tree.bin/" && make distclean
}

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

probe() {
	"$tree.bin/redis-cli" -p "$port" ACL SETUSER u1 reset on nopass % +@all 2>&1
	"$tree.bin/redis-cli" -p "$port" ACL DELUSER u1 >/dev/null
}
accepted=OK
refused="ERR Error in ACL SETUSER modifier '%': Syntax error"

# The load: an endless redis-benchmark; it ends by itself at the first reply that is an error.
load_start() {
	"$tree.bin/redis-benchmark" -h 127.0.0.1 -p "$port" -l -q -c 16 -t set,get,incr,lpush,lpop,hset --threads 2 >"$work/bench.txt" 2>&1 &
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
	say "  under load: no request failed, $("$tree.bin/redis-cli" -p "$port" INFO stats | sed -n 's/^total_commands_processed:\([0-9]*\).*/\1/p') commands so far"
}

real_begin
real_source redis '5:7.0.15-1~deb12u*' 0002-Fix-Read-Write-key-pattern-selector-CVE-2024-51741-1.patch

real_build fixed yes redis_build
redis_start "$tree.bin/redis-server"
say "the probe, on a build with the fix:"
real_expect "ACL SETUSER … %" "$refused" "$(probe)"
redis_stop

real_build running no redis_build
real_ship "$tree.bin/redis-server"
redis_start "$shipped"
say "the probe, on the running build without the fix:"
real_expect "ACL SETUSER … %" "$accepted" "$(probe)"

real_tools
say "building the patch module from $(basename "$fix")"
"$bin/klp-build" -s "$tree" -b "make -j2 $options CFLAGS='$(cflags_klp)'" -t src/redis-server \
	--running "$shipped" --debug "$debug" -n cve-2024-51741 "$fix" -o "$work/fix.klp" >"$work/klp-build.log" 2>&1 ||
	{ cat "$work/klp-build.log" >&2; die "klp-build failed"; }

load_start
say "loading it into $server"
real_klpctl load -p "$server" --timeout 30 --json "$work/fix.klp"
jq -r '.processes[] | "  \(.pid): \(.result), \(.functions) functions, \(.threads) threads, \(.threads_stopped) stopped, longest \(.longest_stop_us) us, \(.elapsed_us) us in all"' "$work/klpctl.json"
real_expect "status of $server" "cve-2024-51741 enabled" "$(real_patched "$server")"
real_expect "ACL SETUSER … %, patched" "$refused" "$(probe)"
sleep 1
real_klpctl unload -p "$server" --timeout 30 --json cve-2024-51741
real_expect "ACL SETUSER … %, unpatched again" "$accepted" "$(probe)"
load_stop
redis_stop
say "redis: passed"
