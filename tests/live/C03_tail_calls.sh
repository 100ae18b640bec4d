#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A function of the patch passes its call on to another one by a jump: at the door of the second nothing of the first is on the stack, and yet it
# belongs to the same call. The thread does not move there: the arguments are those of the first one's version.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<-'C'
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VERSION 1
static atomic_ulong calls[2], mixed;

__attribute__((noipa)) int second(int x, int version)
{
	if (version != VERSION)
		atomic_fetch_add(&mixed, 1);
	for (int i = 0; i < 2000; i++)
		__asm__ volatile("" : "+r"(x));
	atomic_fetch_add(&calls[VERSION - 1], 1);
	return x + VERSION;
}

__attribute__((noipa)) int first(int x)
{
	for (int i = 0; i < 2000; i++)
		__asm__ volatile("" : "+r"(x));
	return second(x, VERSION);
}

/* Through a pointer too: whoever it was that was called cannot be seen at the door of the second. */
static int (*volatile pointer)(int) = first;

static void *direct(void *arg)
{
	for (;;)
		first(1);
	return arg;
}

static void *indirect(void *arg)
{
	for (;;)
		pointer(1);
	return arg;
}

int main(int argc, char **argv)
{
	char line[64], out[96];
	pthread_t t;

	(void)argv;
	if (pthread_create(&t, NULL, argc > 1 ? indirect : direct, NULL))
		return 1;
	while (read(0, line, sizeof(line)) > 0) {
		int len = snprintf(out, sizeof(out), "%lu %lu %lu\n", atomic_load(&mixed), atomic_load(&calls[0]), atomic_load(&calls[1]));

		if (write(1, out, (size_t)len) != len)
			abort();
	}
	return 0;
}
C
objdump -d --no-show-raw-insn "$work/tree/prog" | grep -qE '(jmp|b)\s+[0-9a-f]+ <second>' || die "the compiler made no tail call"
for kind in direct indirect; do
	more=()
	[ $kind = direct ] || more=(x)
	target $kind "$work/tree/prog" ${more[@]+"${more[@]}"}
	for ((i = 0; i < $(full 6 200); i++)); do
		ctl 0,5 load -v --json -p "$(p)" --timeout 2 "$work/own.klp"
		ctl 0,5 unload -v --json -p "$(p)" --timeout 2 own
		ctl 0 unload -v --json -p "$(p)" --timeout 20 own
	done
	ask x
	read -r mixed old new <<<"$REPLY"
	[ "$mixed" = 0 ] || die "$kind: $mixed calls were passed on from one version to the other"
	echo "$kind: $old and $new calls"
	[ "$new" -gt 0 ] || die "$kind: nobody moved"
done
