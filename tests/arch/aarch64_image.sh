#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The runtime of aarch64 must not touch a vector, SVE or SME register, nor x18 but in the trampolines, must have no undefined symbol and no relocation.
# aarch64_image.sh TOOL-PREFIX IMAGE OBJECT...: the objects' code is looked at, for the image has data between its code.
set -eu
tools=$1 elf=$2
shift 2
fail=0
vector='[ ,{[]([bhsdqvz]([0-9]|[12][0-9]|3[01])|p([0-9]|1[0-5])|za[0-9]*|ffr|fpcr|fpsr|zcr_el1|svcr)([],}./ ]|$)'
total=0
for object in "$@"; do
	code=$("${tools}objdump" -d --no-show-raw-insn "$object" | grep -E '^ +[0-9a-f]+:' | tr '\t' ' ' | sed 's/[0-9a-f]* <.*//; s,//.*,,' || true)
	total=$((total + $(printf '%s\n' "$code" | wc -l)))
	if printf '%s\n' "$code" | grep -E "$vector"; then
		echo "$object touches registers that the trampolines do not save"
		fail=1
	fi
	case $object in
	*trampoline*) ;;
	*)
		if printf '%s\n' "$code" | grep -w '[wx]18'; then
			echo "$object touches the platform's register"
			fail=1
		fi
		;;
	esac
done
. "$(dirname "$0")/image.sh"
