#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Another user that changes where a call of the same function goes: a hook that stores a jump over its first instructions. Whoever is there first stays, the other is told
# so by name; other functions can be patched. And a hook that comes over a patch: nothing of it is overwritten, and when it has put back what it found all goes on.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<-'C'
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define VERSION 1
#define LENGTH 5
static unsigned char found[LENGTH];

__attribute__((noipa)) int answer(int x)
{
	return x * 10 + VERSION;
}

__attribute__((noipa)) static int hook(int x)
{
	return x * 10 + 9;
}

/* jmp rel32, as a hooking library stores it. */
static void store(int on)
{
	unsigned char jump[LENGTH] = {0xe9}, *at = (unsigned char *)(uintptr_t)answer;
	int32_t away = (int32_t)((uintptr_t)hook - (uintptr_t)answer - LENGTH);
	uintptr_t page = (uintptr_t)at & ~4095ul;

	memcpy(jump + 1, &away, sizeof(away));
	mprotect((void *)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC);
	if (on)
		memcpy(found, at, LENGTH);
	memcpy(at, on ? jump : found, LENGTH);
	mprotect((void *)page, 8192, PROT_READ | PROT_EXEC);
}

int main(void)
{
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		if (*line != 'c')
			store(*line == 'h');
		printf("%d\n", *line == 'c' ? answer(4) : 0);
		fflush(stdout);
	}
}
C
target t "$work/tree/prog"
expect 41 c
# It is there first.
expect 0 h
expect 49 c
before=$(fingerprint "$(p)")
ctl 4 load -v --json -p "$(p)" "$work/own.klp"
expect_reason BAD_FUNCTION # the jump is longer than the site: it covers the function's first instructions too
result .message | grep -q answer || die "the message does not name the function: $(result .message)"
[ "$(fingerprint "$(p)")" = "$before" ] || die "the refused load left something behind"
expect 49 c
expect 0 u
expect 41 c
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 42 c
# It comes over the patch.
expect 0 h
expect 49 c
ctl 5 unload -v --json --timeout 0.5 -p "$(p)" own
result .message | grep -q answer || die "the message does not name the function: $(result .message)"
expect 49 c
ctl 5 load -v --json --timeout 0.5 -p "$(p)" "$work/own.klp"
expect 49 c
expect 0 u
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 42 c
ctl 0 unload -v --json -p "$(p)" own
expect 41 c
expect 0 h
expect 49 c
expect 0 u
expect 41 c
alive
