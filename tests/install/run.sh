#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` leaves is complete: a project that knows nothing but the prefix becomes patchable through the CMake package and
# through pkg-config, with gcc and clang, and a program links libklp, shared and static.
set -euo pipefail
build=$1 consumer=$2 libdir=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix

cmake --install "$build" --prefix "$prefix" >"$work/install.log" || { cat "$work/install.log" >&2; exit 1; }
export PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig
for f in bin/klpctl bin/klp-build "$libdir/libklp.a" "$libdir/libklp.so" include/klp/klp.h include/klp/error.h include/klp/patch.h share/man/man1/klpctl.1 share/klp/klp.py; do
	[ -e "$prefix/$f" ] || { echo "not installed: $f" >&2; exit 1; }
done
"$prefix/bin/klpctl" --help >/dev/null

sites() { readelf -SW "$1" | grep -q __patchable_function_entries || { echo "$1 is not patchable" >&2; exit 1; }; }
for cc in gcc clang; do
	command -v "$cc" >/dev/null || continue
	CC=$cc cmake -S "$consumer" -B "$work/$cc" -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
	cmake --build "$work/$cc" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
	sites "$work/$cc/patchable"
	if readelf -SW "$work/$cc/plain" | grep -q __patchable_function_entries; then
		echo "flags reach targets that did not ask" >&2
		exit 1
	fi
	# shellcheck disable=SC2046 # words
	"$cc" -Werror -O2 $(pkg-config --variable="cflags_$cc" klp) "$consumer/main.c" -o "$work/pc-$cc"
	sites "$work/pc-$cc"
done
[ "$(pkg-config --cflags klp | xargs)" = "$(pkg-config --variable=cflags_gcc klp | xargs)" ]

# shellcheck disable=SC2046 # words
gcc "$consumer/library.c" -o "$work/shared" $(pkg-config --cflags --libs libklp) -Wl,-rpath,"$prefix/$libdir"
"$work/shared"
# shellcheck disable=SC2046 # words
gcc "$consumer/library.c" -o "$work/static" $(pkg-config --cflags libklp) "$prefix/$libdir/libklp.a" -ldwarf $(pkg-config --libs libelf jansson libmd)
"$work/static"
