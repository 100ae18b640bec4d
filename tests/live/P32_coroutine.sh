#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Coroutines (ucontext): one is suspended inside the function that is being left, its thread waits on another stack. A stack that klp cannot
# see is not overlooked: the thread stays pending and status says why; unload turns it round.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/x + 1/x + 2/' <<-'C'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
#include <unistd.h>

static ucontext_t server, worker;
static int value;

/* Gives way in its middle: its frame lies on the worker's stack, suspended. */
__attribute__((noinline)) int step(int x)
{
	int y = x + 1;

	swapcontext(&worker, &server);
	return y;
}

static void work(void)
{
	for (;;)
		value = step(value & 7);
}

static void serve(void)
{
	char line[256];

	while (read(0, line, sizeof(line)) > 0) {
		char out[32];
		int len;

		swapcontext(&server, &worker);
		len = snprintf(out, sizeof(out), "%d\n", value);
		if (write(1, out, (size_t)len) != len)
			abort();
	}
	exit(0);
}

static void *wait_for_ever(void *arg)
{
	for (;;)
		pause();
	return arg;
}

int main(int argc, char **argv)
{
	static char stack[2][65536];
	static ucontext_t back;
	pthread_t thread;

	(void)argv;
	if (argc > 1 && pthread_create(&thread, NULL, wait_for_ever, NULL))
		return 1;

	getcontext(&worker);
	worker.uc_stack.ss_sp = stack[0];
	worker.uc_stack.ss_size = sizeof(stack[0]);
	makecontext(&worker, work, 0);
	getcontext(&server);
	server.uc_stack.ss_sp = stack[1];
	server.uc_stack.ss_size = sizeof(stack[1]);
	makecontext(&server, serve, 0);
	swapcontext(&back, &server);
	return 1;
}
C
# A thread of an ordinary kind is there: it is borrowed, and the other one holds the transition up.
target t "$work/tree/prog" thread
ask x
before=$REPLY
ctl 5 load -v --json -p "$(p)" --timeout 0.5 "$work/own.klp"
expect_reason PENDING
expect_result "$(p)" '.pending[0].tid'
reason=$(result '.pending[0].reason')
case $reason in UNW_*) ;; *) die "the reason is $reason" ;; esac
echo "pending: $reason"
expect_status "$(p) $reason" '.patches[0].transition.pending[0] | "\(.tid) \(.reason)"'
expect $((before + 1)) x
ctl 0 unload -v --json -p "$(p)" own
expect $((before + 2)) x
# No other thread: nobody's stack is known well enough to be borrowed, and the only one is not stopped again and again to find that out.
target alone "$work/tree/prog"
ask x
before=$REPLY
print=$(fingerprint "$(p)")
ctl 4,5 load -v --json -p "$(p)" --timeout 0.5 "$work/own.klp"
[ "$(fingerprint "$(p)")" = "$print" ] || die "the refused load changed the target"
[ "$(result .threads_stopped)" -lt 100 ] || die "it was stopped $(result .threads_stopped) times"
expect $((before + 1)) x
