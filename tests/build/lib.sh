# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Common to the tests of klp-build. Sourced. Needs KLP_BUILD, the build directory. Exit status 77 means skipped.
set -eu
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${KLP_BUILD:?the build directory}
klp_build=$build/bin/klp-build
KLP_CFLAGS=$(PKG_CONFIG_PATH=$build pkg-config --cflags klp)
KLP_CFLAGS_CLANG=$(PKG_CONFIG_PATH=$build pkg-config --variable=cflags_clang klp)
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
	cp "$tests"/common/* "$dir"/* "$tree/"
	rm -f "$tree"/expect "$tree"/probe "$tree"/prepare "$tree"/fix*.diff
	options=()
	running=
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

# case_build: runs klp-build on it; status in $status, its words in $scratch/out, the report in $scratch/report.json.
case_build() {
	status=0
	tree_state "$tree" >"$scratch/state.before"
	# shellcheck disable=SC2034 # status is for who sources this
	"$klp_build" -s "$tree" -b 'make server' -t ./server ${options[@]+"${options[@]}"} -n fix -o "$scratch/fix.klp" \
		--report "$scratch/report.json" "${diffs[@]}" >"$scratch/out" 2>&1 </dev/null || status=$?
	tree_state "$tree" >"$scratch/state.after"
	cmp -s "$scratch/state.before" "$scratch/state.after" || fail "the source tree was changed"
}

# report_has LIST SYMBOL: a clone of the symbol (.isra.0, .constprop.0) counts as the symbol.
report_has() {
	jq -e --arg list "$1" --arg symbol "$2" '.[$list] // [] | any(.symbol | . == $symbol or startswith($symbol + "."))' "$scratch/report.json" >/dev/null
}
