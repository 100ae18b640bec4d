#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# archives.sh KLP-BUILD COMPILER...: objects that others have made: the C++ library of each compiler (exceptions, COMDAT groups, vtables), and with KLP_FULL=1
# its C library (hand-written assembly, IFUNCs, weak symbols). Each against itself has no change.
set -uo pipefail
klp_build=$1
shift
work=$(mktemp -d "${TMPDIR:-/tmp}/klp-archives.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
libraries=(libstdc++.a)
[ "${KLP_FULL:-0}" != 1 ] || libraries+=(libc.a)
untried=()
for compiler; do
	for library in "${libraries[@]}"; do
		archive=$("$compiler" -print-file-name="$library")
		[ -f "$archive" ] || { untried+=("$compiler has no $library"); continue; }
		rm -rf "$work/objects"
		mkdir "$work/objects"
		(cd "$work/objects" && ar x "$(realpath "$archive")") || exit 1
		compared=0
		for o in "$work"/objects/*.o; do
			"$klp_build" compare --json "$o" "$o" >"$work/out" 2>&1
			status=$?
			if [ $status != 3 ]; then
				printf 'FAILED: %s of %s against itself: exit status %d: %s\n' "${o##*/}" "$archive" $status "$(head -c 600 "$work/out")" >&2
				exit 1
			fi
			compared=$((compared + 1))
		done
		echo "$compiler, $library: $compared objects, none differs from itself"
		[ $compared -gt 100 ] || { echo "FAILED: these are few" >&2; exit 1; }
	done
done
if [ ${#untried[@]} -gt 0 ]; then
	printf 'SKIPPED: %s\n' "${untried[@]}" >&2
	exit 77
fi
