# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced: builds the crossing test's program and its patch with klp-build. $build: klp's build directory; $work gets target and fix.klp.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${build:?}
cflags=$(PKG_CONFIG_PATH=$build pkg-config --cflags klp)
work=$(mktemp -d "${TMPDIR:-/tmp}/klp-crossing.XXXXXX")
pid=
# shellcheck disable=SC2317 # by the trap
cleanup() {
	[ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT
mkdir "$work/src" "$work/a" "$work/b"
cp "$here"/{target.c,functions.c,functions.h,page.h,Makefile} "$work/src"
make -s -C "$work/src" KLP_CFLAGS="$cflags"
cp "$work/src/functions.c" "$work/a"
sed 's/x \* 10 + 1/x * 10 + 2/; s/deep(2) + 1/deep(2) + 2/; s/answer(n) : 1/answer(n) : 2/; s/== 1 ? 1/== 1 ? 2/' "$work/src/functions.c" >"$work/b/functions.c"
(cd "$work" && diff -u a/functions.c b/functions.c) >"$work/fix.diff" || true
cp "$work/src/target" "$work/target"
"$build/bin/klp-build" -s "$work/src" -b "make KLP_CFLAGS='$cflags'" -t ./target "$work/fix.diff" -o "$work/fix.klp" >"$work/log" 2>&1 || {
	cat "$work/log" >&2
	exit 1
}
