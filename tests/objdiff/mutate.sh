#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mutate.sh MUTATE COUNT SEED [ARCH]: compiles some of klp's own sources as users compile theirs, for ARCH, with every compiler here and several
# levels of optimisation, and mutates the objects (mutate.c). The last flag of each set is in the names of its objects.
set -euo pipefail
mutate=$1 count=$2 seed=$3 arch=${4:-x86_64}
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/klp-mutate.XXXXXX")
trap 'rm -rf "$work"' EXIT
common=(-std=gnu11 -g -D_GNU_SOURCE "-DKLP_ARCH_NAME=\"$arch\"" -I"$root" -I"$root/klp/include" -I"$root/tools/klp-build" -ffunction-sections -fdata-sections -fno-lto)
if [ "$arch" != x86_64 ]; then
	# The libraries' headers are this machine's: they say the same of every 64-bit machine.
	mkdir "$work/include"
	for header in jansson.h x86_64-linux-gnu/jansson_config.h libelf.h gelf.h sha2.h; do
		[ ! -e "/usr/include/$header" ] || ln -s "/usr/include/$header" "$work/include/${header##*/}"
	done
	common+=(-idirafter "$work/include")
fi
# compile CC FLAG...: the objects of this compiler
compile() {
	local cc=$1 source name level
	shift
	for source in klp/link.c klp/callbacks.c unwind/cfa.c tools/klp-build/objdiff/arch/x86_64/insn.c patchsite/discover.c klp/proof.c tools/klp-build/main.c; do
		name=$(basename "$source" .c)
		for level in O0 O2 O3 Os; do
			"$cc" "${common[@]}" "$@" "-$level" -c "$root/$source" -o "$work/$name-${cc##*/}-${!#}-$level.o"
		done
	done
}
case $arch in
x86_64)
	compile gcc -fno-ipa-stack-alignment -fpatchable-function-entry=19,16
	if command -v clang >/dev/null; then compile clang -fpatchable-function-entry=16,14; else echo "NOTE: clang is not installed"; fi
	;;
aarch64)
	compile aarch64-linux-gnu-gcc -fno-section-anchors -fpatchable-function-entry=6,4
	compile aarch64-linux-gnu-gcc -fno-section-anchors -fPIC -mbranch-protection=standard -fpatchable-function-entry=5,3
	if command -v clang >/dev/null; then
		compile clang --target=aarch64-linux-gnu -mno-global-merge -fpatchable-function-entry=6,4
	else
		echo "NOTE: clang is not installed"
	fi
	;;
riscv64)
	compile riscv64-linux-gnu-gcc -fasynchronous-unwind-tables -fpatchable-function-entry=34,32
	compile riscv64-linux-gnu-gcc -fasynchronous-unwind-tables -fPIC -fno-section-anchors -fpatchable-function-entry=34,32 -mno-relax
	compile riscv64-linux-gnu-gcc -fasynchronous-unwind-tables -fno-pie -mcmodel=medlow -march=rv64g -fpatchable-function-entry=8,6
	if command -v clang >/dev/null; then
		compile clang --target=riscv64-linux-gnu -fasynchronous-unwind-tables -fpatchable-function-entry=34,32 -mrelax
		compile clang --target=riscv64-linux-gnu -fasynchronous-unwind-tables -march=rv64g -fpatchable-function-entry=8,6 -mno-relax
	else
		echo "NOTE: clang is not installed"
	fi
	;;
*) exit 2 ;;
esac
"$mutate" "$count" "$seed" "$work"/*.o
