#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# main ends in the call of a function that never returns: the return address is behind main's end. Its thread is proven all the same, and is inside main when that is
# what is being left.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/x + 1/x + 2/' <<-'C'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile int started;

__attribute__((noinline)) int next(int x)
{
	return x + 1;
}

__attribute__((noinline, noreturn)) static void serve(void)
{
	char line[256];

	while (read(0, line, sizeof(line)) > 0) {
		char out[32];
		int len = snprintf(out, sizeof(out), "%d\n", next(1));

		if (write(1, out, (size_t)len) != len)
			abort();
	}
	exit(0);
}

int main(void)
{
	started = 1;
	serve();
}
C
own_module tail 's/started = 1/started = 2/'
objdump -d --no-show-raw-insn "$work/tree/prog" | awk '/<main>:/,/^$/' | grep -v '^$' | grep -vE 'nop|xchg' | tail -1 | grep -qE '(call|bl).*<serve>' || skip "main does not end in the call"
target t "$work/tree/prog"
expect 2 x
ctl 0 load -v --json -p "$(p)" --timeout 5 "$work/own.klp"
expect 3 x
ctl 0 unload -v --json -p "$(p)" --timeout 5 own
expect 2 x
ctl 5 load -v --json -p "$(p)" --timeout 0.3 "$work/tail.klp"
expect_result main '.pending[0].function'
ctl 0 unload -v --json -p "$(p)" --timeout 5 tail
expect 2 x
