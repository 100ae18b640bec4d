#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A Debian package from end to end, as docs/debian-package.md tells it: memcached is built by dpkg-buildpackage, what its packages install (stripped, with a -dbgsym
# package) runs under load, and is patched by Debian's own patch and one whose effect can be seen. Its fixes of two parts that Debian does not build change nothing.
set -euo pipefail
# shellcheck source=tests/real/lib.sh
. "$(dirname "$0")/lib.sh"

# The source as it was shipped, then: the patches before the fix are applied already.
package_build() {
	: >debian/patches/series
	DEB_CFLAGS_APPEND="$(cflags_klp)" DEB_BUILD_OPTIONS='nocheck parallel=2' dpkg-buildpackage -b -us -uc -d || return
	rm -rf "$tree.root"
	for deb in ../memcached_*.deb ../memcached-dbgsym_*.deb; do
		dpkg-deb -x "$deb" "$tree.root" || return
	done
	debian/rules clean
}
client=$root/tests/real/memcached_client.py

command -v dh >/dev/null || skip "debhelper is not installed"
real_begin
real_source memcached '1.6.18-1+deb12u*' 0007-uninitialized-variables.patch
real_build package no package_build
rm -rf "$work/root" && cp -a "$tree.root" "$work/root"
shipped=$work/root/usr/bin/memcached
debug=$work/root/usr/lib/debug
real_tools
[ -z "$(nm "$shipped" 2>/dev/null)" ] || die "what the package ships is not stripped"
sites=$("$bin/klpctl" sites --json "$shipped" | jq .unnamed)
[ "$sites" -gt 300 ] || die "the shipped program has $sites patch sites"
say "what the package ships has $sites patch sites"

klp_build() { # OUTPUT-NAME DIFF...: exit status in $status
	local name=$1
	shift
	status=0
	DEB_CFLAGS_APPEND="$(cflags_klp)" DEB_BUILD_OPTIONS='nocheck parallel=2' "$bin/klp-build" -s "$tree" -b 'dpkg-buildpackage -d -nc -T build' -t memcached \
		--running "$shipped" --debug "$debug" --report "$work/$name.json" "$@" -o "$work/$name.klp" >"$work/$name.log" 2>&1 || status=$?
}
# The proxy and the password file of SASL are not configured in Debian's build.
for cve in CVE-2023-46853.patch 0009-CVE-2023-46852.patch; do
	[ -f "$source_dir/debian/patches/$cve" ] || continue
	klp_build none "$source_dir/debian/patches/$cve"
	real_expect "$cve" "exit status 3" "exit status $status"
	grep -q 'note: .* and no compilation of the target reads it$' "$work/none.log" || die "it does not say why: $(cat "$work/none.log")"
	break
done
cat >"$work/seen.diff" <<'END'
--- a/logger.c
+++ b/logger.c
@@ -286 +286 @@
-    const char * const transport_map[] = { "local", "tcp", "udp" };
+    const char * const transport_map[] = { "unix", "tcp", "udp" };
END
line=$(grep -n 'transport_map\[\] = { "local"' "$tree/logger.c" | head -1 | cut -d: -f1)
sed -i "s/^@@.*/@@ -$line +$line @@/" "$work/seen.diff"
klp_build fix "$fix" "$work/seen.diff" --label "uninitialized variables"
[ "$status" = 0 ] || { cat "$work/fix.log" >&2; die "klp-build: exit status $status"; }
real_expect "replaced" "_logger_parse_cce _logger_parse_cne" "$(jq -r '[.changed[].symbol] | sort | join(" ")' "$work/fix.json")"

socket=$work/socket
"$shipped" -u "$(id -un)" -s "$socket" -t 4 &
daemon=$!
started+=("$daemon")
for _ in {1..100}; do [ -S "$socket" ] && break; sleep 0.1; done
python3 "$client" "$socket" load "$work/load" &
load=$!
started+=("$load")
for _ in {1..100}; do [ -s "$work/load" ] && break; sleep 0.1; done
real_expect "a connection, before" "unix local" "$(python3 "$client" "$socket" connections)"
say "loading it into $daemon"
real_klpctl load -p "$daemon" --timeout 30 --json "$work/fix.klp"
jq -r '.processes[] | "  \(.pid): \(.result), \(.functions) functions, \(.threads) threads, \(.threads_stopped) stopped, longest \(.longest_stop_us) us, \(.elapsed_us) us in all"' "$work/klpctl.json"
real_expect "status" "fix enabled" "$(real_patched "$daemon")"
real_expect "labels" "uninitialized variables" "$("$bin/klpctl" status -p "$daemon" --json | jq -r '.processes[].patches[].labels | join(", ")')"
real_expect "a connection, patched" "unix unix" "$(python3 "$client" "$socket" connections)"
sleep 1
real_klpctl unload -p "$daemon" --timeout 30 --json fix
real_expect "a connection, unpatched again" "unix local" "$(python3 "$client" "$socket" connections)"
kill "$load"
wait "$load" || die "the load ended with $?"
grep -q ', 0 clients failed' "$work/load" || die "the load: $(cat "$work/load")"
say "  load: $(cat "$work/load")"
kill -0 "$daemon" || die "the daemon is gone"
say "memcached: passed"
