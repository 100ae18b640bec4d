#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The runtime of riscv64 must not touch a floating-point or vector register or their state, nor gp, must have no compressed instruction (there are
# harts without), no undefined symbol and no relocation. riscv64_image.sh TOOL-PREFIX IMAGE OBJECT...: the objects' code is looked at, for the image
# has data between its code.
set -eu
tools=$1 elf=$2
shift 2
fail=0
others='[ ,(](f[ast]?([0-9]|1[01])|ft[89]|ft1[01]|v([0-9]|[12][0-9]|3[01])|gp)([,)]|$)| (v|f)[a-z0-9]+\.| csr|vset'
total=0
for object in "$@"; do
	code=$("${tools}objdump" -d "$object" | grep -E '^ +[0-9a-f]+:' | tr '\t' ' ' | sed 's/<.*//; s,#.*,,' || true)
	total=$((total + $(printf '%s\n' "$code" | wc -l)))
	if printf '%s\n' "$code" | sed 's/^ *[0-9a-f]*: *[0-9a-f]* */ /' | grep -E "$others"; then
		echo "$object touches registers that the trampolines do not save"
		fail=1
	fi
	if printf '%s\n' "$code" | grep -E '^ +[0-9a-f]+: +[0-9a-f]{4} '; then
		echo "$object has compressed instructions"
		fail=1
	fi
done
. "$(dirname "$0")/image.sh"
