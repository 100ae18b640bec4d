#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Debian's nginx, its own fix of CVE-2026-42945 (a capture that is escaped though it must not be), master and two workers under wrk.
set -euo pipefail
# shellcheck source=tests/real/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/real/daemon-nginx.sh
. "$(dirname "$0")/daemon-nginx.sh"
command -v wrk >/dev/null || skip "wrk is not installed"

nginx_build() {
	./configure --without-http_gzip_module --with-cc-opt="-O2 -g $(cflags_klp)" && make -j2
}

probe() { curl -s --max-time 10 "http://127.0.0.1:$port/r/a+b"; }
# Every worker answers some of these: each is a new connection.
probe_all() {
	for _ in {1..40}; do probe; done | sort -u | tr '\n' ' ' | sed 's/ $//'
}
real_begin
real_source nginx '1.22.1-9+deb12u*' CVE-2026-42945.patch

real_build fixed yes nginx_build
nginx_start "$tree/objs/nginx"
say "the probe, on a build with the fix:"
real_expect "GET /r/a+b" "[a+b]" "$(probe_all)"
nginx_stop

real_build running no nginx_build
real_ship "$tree/objs/nginx"
nginx_start "$shipped"
say "the probe, on the running build without the fix:"
real_expect "GET /r/a+b" "[a%2]" "$(probe_all)"

real_tools
real_identity "$tree"
say "building the patch module from $(basename "$fix")"
"$bin/klp-build" -s "$tree" -b 'make -j2' -t objs/nginx --running "$shipped" --debug "$debug" -n cve-2026-42945 \
	"$fix" -o "$work/fix.klp" >"$work/klp-build.log" 2>&1 || { cat "$work/klp-build.log" >&2; die "klp-build failed"; }

load_start
args=()
for pid in $master $(workers); do args+=(-p "$pid"); done
say "loading it into the master ($master) and its workers ($(workers | xargs))"
real_klpctl load "${args[@]}" --timeout 30 --json "$work/fix.klp"
jq -r '.processes[] | "  \(.pid): \(.result), \(.functions) functions, \(.threads_stopped) stopped, longest \(.longest_stop_us) us, \(.elapsed_us) us in all"' "$work/klpctl.json"
real_expect "GET /r/a+b, patched" "[a+b]" "$(probe_all)"
sleep 1
load_stop

say "a new worker, forked from the patched master:"
old=$(workers | head -n 1)
kill -9 "$old"
for _ in {1..50}; do
	new=$(workers | tr '\n' ' ')
	[[ " $new " != *" $old "* ]] && [ "$(wc -w <<<"$new")" -eq 2 ] && break
	sleep 0.1
done
real_expect "GET /r/a+b, new worker" "[a+b]" "$(probe_all)"
for pid in $master $(workers); do
	real_expect "status of $pid" "cve-2026-42945 enabled" "$(real_patched "$pid")"
done

load_start
args=()
for pid in $master $(workers); do args+=(-p "$pid"); done
real_klpctl unload "${args[@]}" --timeout 30 --json cve-2026-42945
real_expect "GET /r/a+b, unpatched again" "[a%2]" "$(probe_all)"
load_stop
nginx_stop
say "nginx: passed"
