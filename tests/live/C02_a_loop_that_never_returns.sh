#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The patch author's guide, "A loop that never returns": a fix in the loop itself is refused nowhere and becomes of no effect, for the thread in it never leaves; the load
# says for whom it waits and can be taken back. The same fix in what the loop calls is there at the next turn.
. "$(dirname "$0")/lib.sh"
begin
own_program '/n = read/s/$/\n\t\tif (n > 4)\n\t\t\tn = 4;/' <<'C'
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char line[64];

__attribute__((noipa)) int answer(long n)
{
	return (int)n;
}

__attribute__((noipa)) void serve(void)
{
	char out[16];
	long n;

	for (;;) {
		n = read(0, line, sizeof(line));
		if (n <= 0)
			_exit(0);
		n = snprintf(out, sizeof(out), "%d\n", answer(n - 1));
		if (write(1, out, (size_t)n) != n)
			_exit(1);
	}
}

int main(void)
{
	serve();
}
C
own_module callee 's/return (int)n;/return (int)(n > 3 ? 3 : n);/'
target t "$work/tree/prog"
expect 6 123456
ctl 5 load -v --json --timeout 0.5 -p "$(p)" "$work/own.klp"
expect_result serve '.pending[0].function'
expect_result ON_STACK '.pending[0].reason'
expect 6 123456
ctl 0 unload -v --json -p "$(p)" own
ctl 0 load -v --json -p "$(p)" "$work/callee.klp"
expect 3 123456
ctl 0 unload -v --json -p "$(p)" callee
expect 6 123456
alive
