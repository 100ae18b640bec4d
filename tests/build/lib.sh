# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Common to the tests of klp-build. Sourced. Needs KLP_BUILD, the build directory. Exit status 77 means skipped.
set -eu
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${KLP_BUILD:?the build directory}
klp_build=${KLP_BUILD_TOOL:-$build/bin/klp-build} # of another machine, where that builds
klpctl=$build/bin/klpctl
# A cross build's flags (KLP_CROSS_ARCH, for which the compilers are in cross_begin's directory) come from the test's registration.
KLP_CFLAGS=${KLP_CFLAGS-$(PKG_CONFIG_PATH=$build pkg-config --cflags klp)}
KLP_CFLAGS_CLANG=${KLP_CFLAGS_CLANG-$(PKG_CONFIG_PATH=$build pkg-config --variable=cflags_clang klp)}
KLP_INCLUDE=$tests/../../klp/include # <klp/patch.h>
export KLP_CFLAGS KLP_CFLAGS_CLANG KLP_INCLUDE
failures=0

fail() {
	printf 'FAILED: %s\n' "$*" >&2
	failures=$((failures + 1))
}

# A scratch directory that goes however the test ends. TMPDIR is inside, so that leftovers of klp-build are seen.
begin() {
	scratch=$(mktemp -d "${TMPDIR:-/tmp}/klp-build-test.XXXXXX")
	trap 'rm -rf "$scratch"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	mkdir "$scratch/tmp"
	export TMPDIR=$scratch/tmp
	[ -z "${KLP_CROSS_ARCH:-}" ] || cross_begin "$KLP_CROSS_ARCH-linux-gnu"
}

# The cross tools under the names that makefiles use, first in the PATH.
cross_begin() { # TRIPLET
	local name program
	mkdir "$scratch/cross"
	for name in gcc g++; do
		program=$(command -v "$1-$name") || continue
		printf '#!/bin/sh\nexec %s -B%s "$@"\n' "$program" "$scratch/cross/other" >"$scratch/cross/$name"
	done
	for name in ar as nm objcopy objdump ranlib readelf strip; do
		program=$(command -v "$1-$name") || continue
		printf '#!/bin/sh\nexec %s "$@"\n' "$program" >"$scratch/cross/$name"
	done
	mkdir "$scratch/cross/other" # where gcc looks for a linker that is for all machines
	program=$(command -v ld.lld) && ln -s "$program" "$scratch/cross/other/ld.lld"
	printf '#!/bin/sh\nexec %s --target=%s "$@"\n' "$(command -v clang || echo clang)" "$1" >"$scratch/cross/clang"
	chmod +x "$scratch/cross"/*
	ln -s gcc "$scratch/cross/cc"
	PATH=$scratch/cross:$PATH
}

finish() {
	[ "$failures" -eq 0 ] || exit 1
	exit 0
}

# Everything about a tree that klp-build must leave alone: names, kinds, modes, times, contents.
tree_state() {
	(cd "$1" && find . -printf '%p %y %m %s %T@ %l\n' | LC_ALL=C sort && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
}

nothing_left() {
	local left
	left=$(ls -A "$TMPDIR")
	[ -z "$left" ] || fail "$1: left behind: $left"
}

make_clean() { rm -f ./*.o server; }

# case_setup CASE: the case's tree in $scratch/tree with the common files, what is shipped in $running, further options in options[].
case_setup() {
	local dir=$tests/cases/$1
	tree=$scratch/tree
	mkdir "$tree"
	cp "$tests"/common/* "$tree/"
	[ ! -f "$dir/like" ] || cp "$tests/cases/$(cat "$dir/like")"/* "$tree/"
	cp "$dir"/* "$tree/"
	rm -f "$tree"/expect "$tree"/probe "$tree"/prepare "$tree"/like "$tree"/fix*.diff
	options=()
	running=
	database=
	diffs=("$dir"/fix*.diff)
	cd "$tree"
	if [ -f "$dir/prepare" ]; then
		# shellcheck disable=SC1091
		. "$dir/prepare"
	else
		make -s server
		cp server ../server.shipped
		make_clean
		options=(--running ../server.shipped)
		# shellcheck disable=SC2034 # for who sources this
		running=../server.shipped
	fi
}

# make_database FORM FILE: a compilation database of what make would do, with the form "command" or "arguments". The flags have no quotes.
make_database() {
	make -Bn server | grep -e ' -c ' | jq -Rn --arg form "$1" --arg dir "$PWD" '
		[inputs | {directory: $dir, file: (split(" ") | last)} + if $form == "command" then {command: .} else {arguments: (split(" ") | map(select(. != "")))} end]' >"$2"
}

# ship_with_database FORM: builds what is shipped, and the database of how; case_build uses that in place of make.
ship_with_database() {
	make -s server
	cp server ../server.shipped
	make_clean
	running=../server.shipped
	database=../compile_commands.json
	options=(--running "$running")
	make_database "$1" "$database"
}

# case_build: runs klp-build on it; status in $status, its words in $scratch/out, the report in $scratch/report.json.
case_build() {
	status=0
	tree_state "$tree" >"$scratch/state.before"
	local how=(-b 'make server' -t ./server)
	[ -z "$database" ] || how=(--compile-commands "$database")
	# shellcheck disable=SC2034 # status is for who sources this
	"$klp_build" -s "$tree" "${how[@]}" ${options[@]+"${options[@]}"} -n fix -o "$scratch/fix.klp" \
		--report "$scratch/report.json" "${diffs[@]}" >"$scratch/out" 2>&1 </dev/null || status=$?
	tree_state "$tree" >"$scratch/state.after"
	cmp -s "$scratch/state.before" "$scratch/state.after" || fail "the source tree was changed"
}

# report_has LIST SYMBOL: a clone of the symbol (.isra.0, .constprop.0) counts as the symbol.
report_has() {
	jq -e --arg list "$1" --arg symbol "$2" '.[$list] // [] | any(.symbol | . == $symbol or startswith($symbol + "."))' "$scratch/report.json" >/dev/null
}

# module_info FILE: what it says of itself. For another machine (KLP_CROSS_ARCH) klpctl is not asked: it would refuse, and that is checked.
module_info() {
	if [ -z "${KLP_CROSS_ARCH:-}" ]; then
		"$klpctl" info --json "$1"
		return
	fi
	! "$klpctl" info "$1" >/dev/null 2>"$scratch/refusal" && grep -q WRONG_ARCH "$scratch/refusal" || return 1
	objcopy -O binary --only-section=.klp.meta --set-section-flags .klp.meta=alloc "$1" "$scratch/meta.json" &&
		jq -e --arg arch "$KLP_CROSS_ARCH" '.arch == $arch' "$scratch/meta.json" >/dev/null && cat "$scratch/meta.json"
}
