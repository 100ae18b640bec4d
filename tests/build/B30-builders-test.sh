#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# B30, B28 in part: make with an absolute compiler, cmake with make and ninja out of tree, a shell script that compiles and links at once, gcc and
# clang. What is checked is klp-build's own half: every unit that read the header is compiled again, and the module is made.
# shellcheck source=tests/build/lib.sh
. "$(dirname "$0")/lib.sh"
begin
builders_run() {
	local name=$1 command=$2 target=$3 units=$4
	rm -rf "$scratch/tree"
	case_setup B39
	cat >"$tree/CMakeLists.txt" <<-END
	cmake_minimum_required(VERSION 3.13)
	project(case C)
	set(CMAKE_C_FLAGS "-O2 -g $KLP_CFLAGS")
	add_library(part STATIC other.c unrelated.c)
	add_executable(server loop.c main.c)
	target_link_libraries(server part)
	END
	options=()
	status=0
	"$klp_build" -s "$tree" -b "$command" -t "$target" -n fix -o "$scratch/fix.klp" --report "$scratch/report.json" "${diffs[@]}" \
		>"$scratch/out" 2>&1 </dev/null || status=$?
	[ "$status" -eq 0 ] || fail "$name: exit status $status: $(cat "$scratch/out")"
	[ "$(jq .build.units "$scratch/report.json")" = "$units" ] || fail "$name: $(jq .build "$scratch/report.json")"
	report_has changed probe || fail "$name: probe is not among the changed functions"
	report_has changed other || fail "$name: other is not among the changed functions"
	nothing_left "$name"
}
builders_run absolute "make CC=$(command -v gcc) server" server 4
builders_run clang "make CC=clang KLP_CFLAGS='$(PKG_CONFIG_PATH=$build pkg-config --variable=cflags_clang klp)' server" server 4
# shellcheck disable=SC2016 # the build's shell expands it
builders_run at-once 'gcc -O2 -g $KLP_CFLAGS -o server loop.c main.c other.c unrelated.c' server 4
builders_run cmake-make 'cmake -S . -B out >/dev/null && make -C out' out/server 3
builders_run cmake-ninja 'cmake -S . -B out -G Ninja >/dev/null && ninja -C out' out/server 3
finish
