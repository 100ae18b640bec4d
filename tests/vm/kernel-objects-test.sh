#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kernel-objects-test.sh ARCH: objects that klp-build has nothing to do with: modules of the guest's kernel, with their sections of alternatives,
# bugs, static calls and tracepoints. One against itself has no change; of one changed byte, relocation or symbol none is lost (tests/objdiff/mutate.c).
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
arch=$1
build=${KLP_BUILD:-$root/build}
modules=40 mutated=16 mutations=10000
if [ "${KLP_FULL:-0}" = 1 ]; then modules=1000000 mutations=100000; fi
work=$(mktemp -d "${TMPDIR:-/tmp}/klp-vm.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
die() {
	printf 'FAILED: %s\n' "$*" >&2
	exit 1
}
command -v xz >/dev/null || { echo "SKIPPED: xz is not installed" >&2; exit 77; }
sysroot=$("$root/scripts/guest" sysroot "$arch") || exit $?

# Always the same ones, of all kinds and sizes.
find "$sysroot"/usr/lib/modules/*/kernel -name '*.ko*' -size +3k | LC_ALL=C sort >"$work/all"
[ "$(wc -l <"$work/all")" -gt "$mutated" ] || die "the guest's kernel has no modules"
shuf --random-source=<(yes klp) -n "$modules" "$work/all" >"$work/some"
compared=0 bytes=0 small=()
while read -r file; do
	o=$work/$compared.o
	case $file in
	*.xz) xz -dc "$file" >"$o" || die "$file" ;;
	*.ko) cp "$file" "$o" || die "$file" ;;
	*) die "compressed in an unknown way: $file" ;;
	esac
	"$build/bin/klp-build" compare --json "$o" "$o" >"$work/out" 2>&1
	status=$?
	[ $status = 3 ] || die "$(basename "$file") against itself: exit status $status: $(head -c 600 "$work/out")"
	bytes=$((bytes + $(stat -c %s "$o")))
	compared=$((compared + 1))
	# A mutation costs a comparison: many of small ones show more than few of large ones.
	if [ ${#small[@]} -lt "$mutated" ] && [ "$(stat -c %s "$o")" -lt 60000 ]; then small+=("$o"); else rm "$o"; fi
done <"$work/some"
echo "$compared modules, $bytes bytes: none differs from itself"
[ ${#small[@]} -ge 8 ] || die "only ${#small[@]} small modules"
"$build/bin/objdiff_mutate" "$mutations" 1 "${small[@]}"
