#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Code of one patch that calls a function of another reaches the other's, in either order of loading and unloading.
. "$(dirname "$0")/lib.sh"
begin
start
for order in 'caller7 callee7' 'callee7 caller7'; do
	set -- $order
	for first in "$1" "$2"; do
		expect 51 call caller7 4
		load "$1"
		load "$2"
		expect 92 call caller7 4
		unload "$first"
		if [ "$first" = caller7 ]; then
			expect 91 call caller7 4
			unload callee7
		else
			expect 52 call caller7 4
			unload caller7
		fi
		expect 51 call caller7 4
	done
done
