#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Debian's redis, its own fix of CVE-2024-51741 (an ACL selector without permissions is accepted), under redis-benchmark.
set -euo pipefail
# shellcheck source=tests/real/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/real/daemon-redis.sh
. "$(dirname "$0")/daemon-redis.sh"

options="MALLOC=libc USE_SYSTEMD=no OPTIMIZATION=-O2 DEBUG=-g V=1"
# Its makefile does not look at the libraries in deps/ again once they are built, so the tree is left unbuilt for klp-build.
redis_build() {
	# shellcheck disable=SC2086 # words
	make -j2 $options CFLAGS="$(cflags_klp)" && rm -rf "$tree.bin" && mkdir "$tree.bin" &&
		cp src/redis-{server,cli,benchmark} "$tree.bin/" && rm -rf "$tree.objects" && mkdir "$tree.objects" &&
		find . -name '*.o' -exec cp --parents -t "$tree.objects" {} + && make distclean
}

probe() {
	"$tree.bin/redis-cli" -p "$port" ACL SETUSER u1 reset on nopass % +@all 2>&1
	"$tree.bin/redis-cli" -p "$port" ACL DELUSER u1 >/dev/null
}
accepted=OK
refused="ERR Error in ACL SETUSER modifier '%': Syntax error"

real_begin
real_source redis '5:7.0.15-1~deb12u*' 0002-Fix-Read-Write-key-pattern-selector-CVE-2024-51741-1.patch

real_build fixed yes redis_build
clients=$tree.bin
redis_start "$tree.bin/redis-server"
say "the probe, on a build with the fix:"
real_expect "ACL SETUSER … %" "$refused" "$(probe)"
redis_stop

real_build running no redis_build
clients=$tree.bin
real_ship "$tree.bin/redis-server"
redis_start "$shipped"
say "the probe, on the running build without the fix:"
real_expect "ACL SETUSER … %" "$accepted" "$(probe)"

real_tools
real_identity "$tree.objects"
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
