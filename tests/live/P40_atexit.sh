#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A patch gives the address of a new function away, to atexit: nobody can see where it is kept. Its text stays behind an unload, klpctl says why, and the program
# ends by calling it.
. "$(dirname "$0")/lib.sh"
begin
own_program 's|/\* PLACE \*/|static void late(void) { if (write(2, "late\\n", 5) < 0) abort(); } static int kept; static void keep(void) { if (!kept++ \&\& atexit(late)) abort(); }|
s/return x \* 10 + 1;/keep(); return x * 10 + 2;/' <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* PLACE */

__attribute__((noipa)) int answer(int x)
{
	return x * 10 + 1;
}

static void early(void)
{
	if (write(2, "early\n", 6) < 0)
		abort();
}

int main(void)
{
	char line[64];

	/* The C library's atexit is a part of every program that uses it: a patch can use it in such ones only. */
	if (atexit(early))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "quit", 4))
			exit(7);
		printf("%d\n", answer(4));
		fflush(stdout);
	}
}
C
target t "$work/tree/prog"
bye() { # the current target ends by itself: with its own status, and what it wrote at its end is in the file
	local status
	printf 'quit\n' >&"${wfd[$cur]}"
	wait "${pid[$cur]}"
	status=$?
	[ $status = 7 ] || die "the target ended with status $status, expected 7"
}
expect 41 x
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 42 x
at=$(status '.patches[0].functions[0].new_address')
ctl 0 unload -v --json -p "$(p)" own
expect 41 x
expect_result 1 .pinned
expect_result true .memory_left
expect_status disabled '.patches[0].state'
expect_status true '.patches[0].pinned_by | tostring | contains("late")'
"$klpctl" status -p "$(p)" >"$work/text"
grep -q 'pinned' "$work/text" || die "status does not say it to a reader: $(cat "$work/text")"
mapped() {
	local range prot _
	while read -r range prot _; do
		[ $((0x${range%-*})) -le "$at" ] && [ "$at" -lt $((0x${range#*-})) ] && [[ $prot = r-x* ]] && return 0
	done <"/proc/$(p)/maps"
	return 1
}
mapped || die "the text was given back"
# Other commands do not give it back either, and another load of it has a function of its own to call.
ctl 0 unload -v --json -p "$(p)" own
mapped || die "the text was given back by another unload"
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 42 x
ctl 0 unload -v --json -p "$(p)" own
expect 41 x
expect_result 2 .pinned
mapped || die "the text was given back by another patch's unload"
[ ! -s "$work/t.err" ] || die "it was called too early"
bye
[ "$(grep -c late "$work/t.err")" = 2 ] || die "the functions were not called: $(cat "$work/t.err")"
# The same with the patch still loaded.
target u "$work/tree/prog"
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 42 x
bye
[ "$(grep -c late "$work/u.err")" = 1 ] || die "the function was not called: $(cat "$work/u.err")"
