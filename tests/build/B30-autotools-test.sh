#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# B30: an autotools package, configured before or by the build command itself, with a library of its own (convenience archive).
# shellcheck source=tests/build/lib.sh
. "$(dirname "$0")/lib.sh"
for tool in autoreconf automake; do
	command -v $tool >/dev/null || {
		echo "skipped: $tool is not installed"
		exit 77
	}
done
begin
# package: the sources of B39 (a header that two units read) as a package.
package() {
	rm -rf "$scratch/tree"
	case_setup B39
	rm -f "$tree/Makefile" "$tree/common.mk"
	cat >"$tree/configure.ac" <<-'END'
	AC_INIT([case], [1])
	AM_INIT_AUTOMAKE([foreign subdir-objects])
	AC_PROG_CC
	AM_PROG_AR
	AC_PROG_RANLIB
	AC_CONFIG_HEADERS([config.h])
	AC_CONFIG_FILES([Makefile])
	AC_OUTPUT
	END
	cat >"$tree/Makefile.am" <<-'END'
	noinst_LIBRARIES = libpart.a
	libpart_a_SOURCES = other.c unrelated.c
	bin_PROGRAMS = server
	server_SOURCES = loop.c main.c
	server_LDADD = libpart.a
	END
	(cd "$tree" && autoreconf -i) >"$scratch/autoreconf" 2>&1 || fail "autoreconf: $(cat "$scratch/autoreconf")"
}
check() {
	local name=$1 status=0
	# shellcheck disable=SC2154 # set by case_setup
	"$klp_build" -s "$tree" -b "$2" -t "$3" -n fix -o "$scratch/fix.klp" --report "$scratch/report.json" "${diffs[@]}" \
		>"$scratch/out" 2>&1 </dev/null || status=$?
	[ "$status" -eq 0 ] || fail "$name: exit status $status: $(cat "$scratch/out")"
	[ "$(jq .build.units "$scratch/report.json")" = 3 ] || fail "$name: $(jq .build "$scratch/report.json")"
	report_has changed probe || fail "$name: probe is not among the changed functions"
	report_has changed other || fail "$name: other is not among the changed functions"
	nothing_left "$name"
}
package
(cd "$tree" && ./configure -q CFLAGS="-O2 -g $KLP_CFLAGS" && make -s) >"$scratch/make" 2>&1 || fail "the package: $(cat "$scratch/make")"
check configured make server
package
# shellcheck disable=SC2016 # the build's shell expands it
check configure './configure -q CFLAGS="-O2 -g $KLP_CFLAGS" && make' server
# shellcheck disable=SC2016
check outside 'mkdir -p out && cd out && ../configure -q CFLAGS="-O2 -g $KLP_CFLAGS" && make -s' out/server
finish
