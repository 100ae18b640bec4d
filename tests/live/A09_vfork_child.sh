#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A vfork child runs patched functions with its parent's memory, stack and thread pointer: the parent, blocked all the while, is no clean thread.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/int v = 1;/int v = 2;/' "-I$root/tests/live" <<-'C'
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "raw_call.h"

static int go[2];
static volatile int inside, seen;

__attribute__((noinline)) int pair_a(void)
{
	int v = 1;

	__asm__ volatile("" : "+r"(v));
	return v;
}
__attribute__((noinline)) int pair_b(void)
{
	int v = 1;

	__asm__ volatile("" : "+r"(v));
	return v;
}

/* The child: one half of the contract, a long wait, the other half. */
static __attribute__((noinline)) void child(void)
{
	int a = pair_a();
	char c;

	inside = 1;
	while (read(go[0], &c, 1) != 1)
		;
	seen = a * 10 + pair_b();
}

/* Not by libc's vfork: that one keeps its return address in a register, so nobody could unwind its caller anyway. */
static __attribute__((noinline)) long make_child(void)
{
	long pid = raw_call(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0);

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a program that is killed leaves no child behind */
		child();
		syscall(SYS_exit, 0);
	}
	return pid;
}

static void *parent(void *arg)
{
	long pid = make_child();

	if (pid < 0)
		perror("vfork");
	for (;;)
		pause();
	return arg;
}

int main(void)
{
	char line[64];
	pthread_t t;

	if (pipe(go))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "fork", 4)) {
			inside = seen = 0;
			if (pthread_create(&t, NULL, parent, NULL))
				return 1;
			while (!inside)
				usleep(1000);
			puts("ok");
		} else if (!strncmp(line, "go", 2)) {
			if (write(go[1], "", 1) != 1)
				return 1;
			while (!seen)
				usleep(1000);
			printf("%d\n", seen);
		} else {
			printf("%d\n", pair_a() * 10 + pair_b());
		}
		fflush(stdout);
	}
}
C
target t "$work/tree/prog"
expect 11 both
expect ok fork
ctl 5 load -v --json -p "$(p)" --timeout 0.5 "$work/own.klp"
expect_result IN_CLONE '.pending[0].reason'
expect 11 go
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 22 both
# The other way round, reversed while the child is there.
expect ok fork
ctl 5 unload -v --json -p "$(p)" --timeout 0.5 own
expect_result IN_CLONE '.pending[0].reason'
expect 22 go
ctl 0 unload -v --json -p "$(p)" own
expect 11 both
