#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# merge-archives.sh AR OUTPUT INPUT...: one archive with the members of all inputs.
set -eu
ar=$1 out=$2
shift 2
mkdir -p "$(dirname "$out")"
rm -f "$out"
{
	echo "create $out"
	for a in "$@"; do echo "addlib $a"; done
	echo save
	echo end
} | "$ar" -M
