#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hazard A8: a thread enters the old function when its stack has just been proven clean, and before the engine acts on that. Its entries were counted
# before the proof, so it is known to be inside: it keeps the old code and is pending.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<-'C'
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define VERSION 1
static int held;

__attribute__((noipa)) int hold(void)
{
	char c[2];
	int n = (int)read(held, c, sizeof(c));

	return n * 0 + VERSION;
}

int main(int argc, char **argv)
{
	char line[64], out[16];

	held = open(argv[argc - 1], O_RDWR);
	while (read(0, line, sizeof(line)) > 0) {
		int len = snprintf(out, sizeof(out), "%d\n", line[0] == 'i' ? hold() : 0);

		if (write(1, out, (size_t)len) != len)
			return 1;
	}
	return 0;
}
C
mkfifo "$work/hold"
answers() { # NUMBER...: the next ones
	local n line
	for n; do
		IFS= read -r -t $((20 * ${KLP_SLOW:-1})) line <&"${rfd[$cur]}" || die "no answer, expected $n"
		[ "$line" = "$n" ] || die "the answer is '$line', expected '$n'"
	done
}
for again in "" again; do
	target "t$again" "$work/tree/prog" "$work/hold"
	# shellcheck disable=SC2086 # one word or none
	"$build/bin/live_entered" "$(p)" "$work/own.klp" "$work/t$again.in" "$work/hold" $again >"$work/json" 2>"$work/events" || die "$(cat "$work/events")"
	[ -z "$again" ] || answers 1
	expect_reason PENDING
	expect_result hold '.pending[0].function'
	printf 'x\n' >"$work/hold"
	answers 1
	ctl 0 load --json -p "$(p)" "$work/own.klp"
	printf 'i\n' >&"${wfd[$cur]}"
	printf 'x\n' >"$work/hold"
	answers 2
	ctl 0 unload --json -p "$(p)" own
	alive
	printf 'quit\n' >&"${wfd[$cur]}"
	kill "$(p)"
	wait "$(p)"
done
exit 0
