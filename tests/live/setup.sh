#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the targets (KLP_LIVE_KINDS, default all) and every patch of modules.list into $KLP_LIVE. A patch that does not build fails here, by name; the others are built all the same.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
begin
rm -rf "$live" && mkdir -p "$live" || die "cannot make $live"
failed=()

build_module() { # DIR NAME OBJECT FILE SED MAKE...
	local dir=$1 name=$2 object=$3 file=$4 program=$5
	shift 5
	local tree=$work/tree
	rm -rf "$tree" && mkdir -p "$tree/a" "$tree/b"
	cp "$dir/$file" "$tree/a/$file"
	sed "$program" "$dir/$file" >"$tree/b/$file"
	(cd "$tree" && diff -u "a/$file" "b/$file") >"$dir/$name.diff"
	[ -s "$dir/$name.diff" ] || die "$name: the sed program changes nothing"
	if ! "$klp_build" -s "$dir" -b "$*" -t "./$object" "$dir/$name.diff" -o "$live/modules/$name.klp" >"$work/log" 2>&1; then
		printf 'klp-build %s failed:\n' "$name" >&2
		cat "$work/log" >&2
		return 1
	fi
	[ -s "$live/modules/$name.klp" ]
}

mkdir -p "$live/modules"
for kind in ${KLP_LIVE_KINDS:-dynamic static static-pie no-pie}; do
	cp -r "$here/target" "$live/$kind"
	make -s -C "$live/$kind" KIND=$kind KLP_CFLAGS="$klp_cflags" || die "the target does not build as $kind"
	for b in target libaux.so; do # what runs is what -t was when the module was built
		[ -f "$live/$kind/$b" ] && cp "$live/$kind/$b" "$work/$kind.$b"
	done
	[ $kind = dynamic ] && continue
	build_module "$live/$kind" "fix-$kind" target functions.c 's/return x \* 10 + 1;/return x * 10 + 2;/' \
		"make KIND=$kind KLP_CFLAGS='$klp_cflags'" || failed+=("fix-$kind")
done
while read -r name object file program; do
	case $name in '' | '#'*) continue ;; esac
	build_module "$live/dynamic" "$name" "$object" "$file" "$program" "make KLP_CFLAGS='$klp_cflags'" || failed+=("$name")
done <"$here/modules.list"
for f in "$work"/*.target "$work"/*.libaux.so; do
	kind=${f##*/}
	cmp -s "$f" "$live/${kind%%.*}/${kind#*.}" || die "klp-build changed the running program's file ${kind%%.*}/${kind#*.}"
done
[ ${#failed[@]} = 0 ] || die "not built: ${failed[*]}"
