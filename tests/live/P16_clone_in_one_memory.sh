#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A process made by clone with CLONE_VM and without CLONE_THREAD or CLONE_VFORK lives in the target's memory and is none of its threads: nobody knows what it is in the
# middle of. While it lives every command is refused, and a transition in whose middle it was born does not complete. Children of vfork are others: P16_vfork_child_alive.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<'C'
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define VERSION 1
#define STACK 65536

static volatile int end_child, end_thread, inside;
static char stack[STACK] __attribute__((aligned(64)));

__attribute__((noipa)) int answer(void)
{
	return VERSION;
}

__attribute__((noipa)) int stay(void)
{
	inside = VERSION;
	while (!end_thread)
		usleep(1000);
	return VERSION;
}

static int beside(void *arg)
{
	(void)arg;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!end_child)
		usleep(1000);
	return answer();
}

static void *stays(void *arg)
{
	stay();
	inside = 0;
	return arg;
}

/* Makes children of vfork all the time: some are always there, and always others. */
static volatile int spawning;
static void *spawns(void *arg)
{
	while (spawning) {
		pid_t pid = vfork();

		if (!pid) {
			usleep(300);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		usleep(300);
	}
	return arg;
}

int main(void)
{
	static pid_t pid;
	char line[64];
	pthread_t t;

	while (fgets(line, sizeof(line), stdin)) {
		int v = 0;

		if (!strncmp(line, "clone", 5)) {
			end_child = 0;
			v = pid = clone(beside, stack + STACK, CLONE_VM | SIGCHLD, NULL);
		} else if (!strncmp(line, "end", 3)) {
			end_child = 1;
			waitpid(pid, &v, 0);
			v = WEXITSTATUS(v);
		} else if (!strncmp(line, "spawn", 5)) {
			spawning = 1;
			for (int i = 0; i < 4; i++)
				v |= pthread_create(&t, NULL, spawns, NULL);
		} else if (!strncmp(line, "stay", 4)) {
			end_thread = 0;
			v = pthread_create(&t, NULL, stays, NULL);
			while (!inside)
				usleep(1000);
		} else if (!strncmp(line, "leave", 5)) {
			end_thread = 1;
			v = pthread_join(t, NULL);
		} else {
			v = answer();
		}
		printf("%d\n", v);
		fflush(stdout);
	}
}
C
target t "$work/tree/prog"
own() { # STATUS load|unload [OPTION...]
	local want=$1 what=$2
	shift 2
	if [ "$what" = load ]; then ctl "$want" load -v --json "$@" -p "$(p)" "$work/own.klp"; else ctl "$want" unload -v --json "$@" -p "$(p)" own; fi
}
expect 1 answer
for what in load unload; do
	if [ $what = load ]; then new=2; else new=1; fi
	ask clone
	child=$REPLY
	own 4 $what --timeout 1
	expect_reason BUSY
	result .message | grep -q "process $child lives in the memory of process $(p)" || die "it does not say who: $(result .message)"
	expect $((3 - new)) answer
	expect $((3 - new)) end
	# Born in the middle of a transition that waits for a thread inside.
	expect 0 stay
	if [ $what = load ]; then own=$work/own.klp; else own=own; fi
	"$klpctl" $what -v --json --timeout 5 -p "$(p)" "$own" >"$work/json" 2>"$work/events" &
	others=($!)
	wait_for 10 grep -qs 'starting .*patching transition' "$work/events" || die "the transition did not begin"
	ask clone
	child=$REPLY
	expect 0 leave
	rc=0
	wait "${others[0]}" || rc=$?
	others=()
	[ $rc = 5 ] || die "$what with process $child in its memory: status $rc"
	expect_reason PENDING
	result .message | grep -q "process $child lives in the memory of process $(p)" || die "it does not say who: $(result .message)"
	own 4 $what --timeout 1
	expect_reason BUSY
	expect $new answer
	expect $new end
	own 0 $what
	expect $new answer
	echo "$what: done"
done
# Beside threads whose vfork children come and go, it is not taken for one of them; and when it has ended, they are in nobody's way.
expect 0 spawn
ask clone
for ((i = 0; i < 20; i++)); do
	own 4 load --timeout 0.1
	expect_reason BUSY
done
expect 1 answer
expect 1 end
own 0 load
expect 2 answer
own 0 unload
expect 1 answer
