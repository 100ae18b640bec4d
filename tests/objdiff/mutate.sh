#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mutate.sh MUTATE COUNT SEED: compiles some of klp's own sources as users compile theirs, with every compiler here and several levels of
# optimisation, and mutates the objects (mutate.c).
set -euo pipefail
mutate=$1 count=$2 seed=$3
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/klp-mutate.XXXXXX")
trap 'rm -rf "$work"' EXIT
common=(-std=gnu11 -g -D_GNU_SOURCE '-DKLP_ARCH_NAME="x86_64"' -I"$root" -I"$root/klp/include" -I"$root/tools/klp-build" -ffunction-sections -fdata-sections -fno-lto)
for cc in gcc clang; do
	command -v $cc >/dev/null || { echo "NOTE: $cc is not installed"; continue; }
	flags=("-fpatchable-function-entry=19,16" -fno-ipa-stack-alignment)
	[ $cc = gcc ] || flags=("-fpatchable-function-entry=16,14")
	for source in klp/link.c klp/callbacks.c unwind/cfa.c tools/klp-build/objdiff/insn.c patchsite/discover.c klp/proof.c tools/klp-build/main.c; do
		name=$(basename "$source" .c)
		for level in O0 O2 O3 Os; do
			$cc "${common[@]}" "${flags[@]}" -$level -c "$root/$source" -o "$work/$name-$cc-$level.o"
		done
	done
done
"$mutate" "$count" "$seed" "$work"/*.o
