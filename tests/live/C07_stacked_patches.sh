#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Code of one patch that calls a function of another reaches the other's, in either order of loading and unloading; also where it has a
# version of that function itself.
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

own_program 's/x + 1/x + 2/; s/10 + 1/10 + 2/' <<'C'
#include <stdio.h>

__attribute__((noipa)) int callee(int x)
{
	return x + 1;
}

__attribute__((noipa)) int caller(int x)
{
	return callee(x) * 10 + 1;
}

int main(void)
{
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		printf("%d\n", caller(4));
		fflush(stdout);
	}
}
C
own_module top 's/x + 1/x + 5/'
target own "$work/tree/prog"
expect 51 x
for first in own top; do
	ctl 0 load -v --json -p "$(p)" "$work/own.klp"
	expect 62 x
	ctl 0 load -v --json -p "$(p)" "$work/top.klp"
	expect 92 x
	ctl 0 unload -v --json -p "$(p)" $first
	if [ $first = own ]; then
		expect 91 x
		ctl 0 unload -v --json -p "$(p)" top
	else
		expect 62 x
		ctl 0 unload -v --json -p "$(p)" own
	fi
	expect 51 x
done
