#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The runtime image must not touch a vector, x87 or mask register, must have no undefined symbol, no relocation, nothing writable.
# $1: the image before objcopy; $2: "self" checks that this script finds such things in a program that has them.
set -eu
elf=$1
bad='%[xyz]mm[0-9]|%mm[0-7]|%st\b|%st\(|%k[0-7]\b|fxsave|fxrstor|xsave|xrstor|ldmxcsr|stmxcsr|emms|fninit'
code=$(objdump -d --no-show-raw-insn "$elf")
count=$(printf '%s\n' "$code" | grep -cE '^ +[0-9a-f]+:' || true)
if [ "$count" -lt 100 ]; then
	echo "only $count instructions in $elf: not an image"
	exit 1
fi
fail=0
if printf '%s\n' "$code" | grep -E "$bad"; then
	echo "the image touches registers that it does not save"
	fail=1
fi
if nm -u "$elf" | grep .; then
	echo "the image has undefined symbols"
	fail=1
fi
if ! readelf -rW "$elf" | grep -q 'There are no relocations'; then
	echo "the image has relocations"
	fail=1
fi
if readelf -SW "$elf" | sed 's/^ *\[ *[0-9]*\]//' | awk '$7 ~ /W/ && $5 != "000000"' | grep .; then
	echo "the image has writable sections"
	fail=1
fi
exit $fail
