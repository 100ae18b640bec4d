#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A thread is inside klp's own code for the unwinder when the slot that led it there is given back, behind the unload of the last patch: it steps
# through backtrace() and stops, in a signal handler, at the first instruction there. The runtime stays until the thread has left: what it
# finds there is still code.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<-'C'
	#define _GNU_SOURCE
	#include <execinfo.h>
	#include <pthread.h>
	#include <signal.h>
	#include <stdio.h>
	#include <stdlib.h>
	#include <string.h>
	#include <sys/ucontext.h>
	#include <unistd.h>

	#define VERSION 1
	#define TRAP_FLAG 0x100

	static int hold[2], depth;
	static unsigned long low, high; /* klp's text */
	static volatile int inside;

	__attribute__((noinline)) int value(int x)
	{
		return x * 10 + VERSION;
	}

	/* The anonymous code that begins with the runtime's magic. */
	static void find_runtime(void)
	{
		unsigned long a, b;
		char line[512], perms[8];
		FILE *f = fopen("/proc/self/maps", "r");

		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "%lx-%lx %7s %*s %*s %*s", &a, &b, perms) == 3 && !strcmp(perms, "r-xp") &&
			    !memcmp((void *)a, "klp-runtime-1", 13)) {
				low = a;
				high = b;
			}
		if (f)
			fclose(f);
	}

	static void on_trap(int sig, siginfo_t *info, void *context)
	{
		ucontext_t *c = context;
		unsigned long pc = (unsigned long)c->uc_mcontext.gregs[REG_RIP];
		char byte;

		(void)sig;
		(void)info;
		if (pc < low || pc >= high)
			return;
		c->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
		inside = 1;
		if (read(hold[0], &byte, 1) != 1)
			abort();
	}

	static void *walker(void *arg)
	{
		void *frame[16];

		__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "cc", "memory");
		depth = backtrace(frame, 16);
		__asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "cc", "memory");
		return arg;
	}

	int main(void)
	{
		struct sigaction sa = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
		void *frame[4];
		char line[64];
		pthread_t t;

		if (pipe(hold) || sigaction(SIGTRAP, &sa, NULL) || backtrace(frame, 4) < 2)
			return 1;
		while (fgets(line, sizeof(line), stdin)) {
			int answer = value(4);

			if (line[0] == 'w') {
				find_runtime();
				if (pthread_create(&t, NULL, walker, NULL))
					abort();
				for (int i = 0; i < 20000 && !inside; i++)
					usleep(1000);
				answer = inside;
			} else if (line[0] == 'r') {
				if (write(hold[1], "", 1) != 1)
					abort();
				pthread_join(t, NULL);
				answer = depth >= 2;
			}
			printf("%d\n", answer);
			fflush(stdout);
		}
		return 0;
	}
C
target t "$work/tree/prog"
expect 41 v
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 42 v
# shellcheck disable=SC2154 # lib.sh's
"$build/bin/live_midway" unload "$(p)" own "${wfd[t]}" "${rfd[t]}" >"$work/json" 2>"$work/events" || die "the unload failed"
left=$(result .memory_left)
waiting=$(result .threads_in_memory)
expect 1 r
[ "$left" = true ] || die "the runtime was taken away under a thread"
[ "$waiting" = 1 ] || die "$waiting threads are said to be in klp's memory, expected 1"
expect 41 v
expect_status true .runtime
# It is gone with the next patch that goes.
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
ctl 0 unload -v --json -p "$(p)" own
expect_result false .memory_left
expect 41 v
