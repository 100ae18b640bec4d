#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A thread whose thread pointer is 0, or another thread's, for it was made by clone and not by the C library: nothing is read from where its control block would be, and
# each thread is in its own universe. Such a thread is there before klp comes, or after it.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' "-fno-stack-protector -I$root/tests/live" <<'C'
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "raw_call.h"
#ifdef __x86_64__
#include <asm/prctl.h>
#endif

#define VERSION 1
#define STACK 65536

static volatile int asked, answered;
static char stack[STACK] __attribute__((aligned(64)));

__attribute__((noipa)) int answer(void)
{
	return VERSION;
}

/* Nothing of the C library's, which would look for errno. */
static int bare(void *zero)
{
	if (zero) {
#if defined __aarch64__
		__asm__ volatile("msr tpidr_el0, xzr" ::: "memory");
#elif defined __riscv
		__asm__ volatile("mv tp, zero" ::: "memory");
#else
		raw_call(SYS_arch_prctl, ARCH_SET_FS, 0, 0);
#endif
	}
	for (;;) {
		while (!asked)
			raw_call(SYS_sched_yield, 0, 0, 0);
		answered = answer();
		asked = 0;
	}
}

int main(void)
{
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		int v = 0;

		if (!strncmp(line, "zero", 4) || !strncmp(line, "same", 4)) {
			v = clone(bare, stack + STACK, flags, *line == 'z' ? stack : NULL) > 0;
		} else if (!strncmp(line, "bare", 4)) {
			asked = 1;
			while (asked)
				usleep(1000);
			v = answered;
		} else {
			v = answer();
		}
		printf("%d\n", v);
		fflush(stdout);
	}
}
C
transition() { # nobody knows where the bare thread's stack ends: it waits in the old universe, and is not mistaken for the other
	ctl 5 load -v --json -p "$(p)" --timeout 0.5 "$work/own.klp"
	expect_result 1 '.pending | length'
	for _ in 1 2 3; do
		expect 2 main
		expect 1 bare
	done
	ctl 0 unload -v --json -p "$(p)" own
	expect 1 main
	expect 1 bare
}
for kind in zero same; do
	target "before-$kind" "$work/tree/prog"
	expect 1 $kind
	transition
	target "after-$kind" "$work/tree/prog"
	ctl 0 load -v --json -p "$(p)" "$work/own.klp"
	expect 2 main
	expect 1 $kind
	expect 2 bare
	ctl 5 unload -v --json -p "$(p)" --timeout 0.5 own
	for _ in 1 2 3; do
		expect 1 main
		expect 2 bare
	done
	ctl 0 load -v --json -p "$(p)" "$work/own.klp"
	expect 2 main
	expect 2 bare
done
