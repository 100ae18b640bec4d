#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A blocked thread whose caller can only be found by a register that the kernel does not show (a program with frame pointers): it stays
# pending and is named with the reason, old and new calls stay whole, and an unload turns it round.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/x + 1/x + 2/' -fno-omit-frame-pointer <<-'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((noinline)) int next(int x)
{
	return x + 1;
}

/* Its frame is found by the frame pointer alone: the stack pointer moves by what the caller says. */
__attribute__((noinline)) static void serve(size_t room)
{
	char *line = __builtin_alloca(room);
	ssize_t n;

	while ((n = read(0, line, room)) > 0) {
		char out[32];
		int len = snprintf(out, sizeof(out), "%d\n", next(1));

		if (write(1, out, (size_t)len) != len)
			abort();
	}
}

int main(int argc, char **argv)
{
	(void)argv;
	serve(200 + (size_t)argc * 8);
}
C
target t "$work/tree/prog"
expect 2 x
ctl 5 load -v --json -p "$(p)" --timeout 0.5 "$work/own.klp"
expect_reason PENDING
expect_result UNW_REG_UNKNOWN '.pending[0].reason'
expect_result "$(p)" '.pending[0].tid'
expect_result prog '.pending[0].name'
expect_status "$(p) prog UNW_REG_UNKNOWN" '.patches[0].transition.pending[0] | "\(.tid) \(.name) \(.reason)"'
expect 2 x
"$klpctl" stack --json -p "$(p)" >"$work/json" || die "klpctl stack failed"
[ "$(jq -r --argjson t "$(p)" '.. | objects | select(.tid? == $t) | .reliable' "$work/json")" = false ] || die "klpctl stack calls it reliable"
ctl 0 unload -v --json -p "$(p)" own
events "reversing transition"
expect_status 0 '[.patches[] | select(.enabled)] | length'
expect 2 x
