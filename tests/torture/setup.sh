#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the torture's target and its patches into $KLP_BUILD/torture. A patch raises the version of the groups that it is named after.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=${KLP_BUILD:?the build directory}
dir=$build/torture
work=$(mktemp -d "${TMPDIR:-/tmp}/klp-torture.XXXXXX")
trap 'rm -rf "$work"' EXIT
flags=$(PKG_CONFIG_PATH=$build pkg-config --cflags klp)

rm -rf "$dir"
mkdir -p "$dir"
cp "$here"/target/* "$dir/"
make -s -C "$dir" KLP_CFLAGS="$flags"
mkdir "$dir/modules"
cp "$dir/target" "$dir/libtorture.so" "$dir/libplugin.so" "$work/"

# module NAME OBJECT[,OBJECT] VERSION FILE...
module() {
	local name=$1 version=$3 f objects=()
	for f in ${2//,/ }; do
		objects+=(-t "./$f")
	done
	shift 3
	rm -rf "$work/a" "$work/b"
	mkdir "$work/a" "$work/b"
	for f; do
		cp "$dir/$f" "$work/a/$f"
		sed "s/^#define VERSION 1$/#define VERSION $version/" "$dir/$f" >"$work/b/$f"
	done
	(cd "$work" && diff -u a b | grep -v '^diff' >"$dir/$name.diff") || true
	[ "$(grep -c "^+#define VERSION $version$" "$dir/$name.diff")" = $# ] || {
		echo "the diff of $name is not as it should be" >&2
		return 1
	}
	"$build/bin/klp-build" -s "$dir" -b "make KLP_CFLAGS='$flags'" "${objects[@]}" "$dir/$name.diff" -o "$dir/modules/$name.klp" >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		return 1
	}
}
module a2 target 2 a.c
module a3 target 3 a.c
module b3 target 3 b.c
module c4 target 4 c.c
module ab5 target 5 a.c b.c
module abc6 target 6 a.c b.c c.c
module l2 libtorture.so 2 l.c
module l7 libtorture.so 7 l.c
module p2 libplugin.so 2 p.c
module p7 libplugin.so 7 p.c
module ap4 target,libplugin.so 4 a.c p.c
cmp "$dir/target" "$work/target"
cmp "$dir/libtorture.so" "$work/libtorture.so"
cmp "$dir/libplugin.so" "$work/libplugin.so"
