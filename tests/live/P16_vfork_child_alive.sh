#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Children of vfork and posix_spawn that have not executed another program yet: they share their parent's memory, and the thread that waits for one is never proven and never
# stopped. The others move; a command for the child itself does not disturb the parent; the wait's end is what ends the transition. A child that has executed is nobody of klp's.
# In a pid namespace of its own where that is possible: a command without -p asks every process that the tool can see.
if [ -z "${KLP_OWN_PROCESSES:-}" ] && unshare --pid --fork --mount-proc true 2>/dev/null; then
	KLP_OWN_PROCESSES=1 exec unshare --pid --fork --mount-proc --kill-child "$0"
fi
. "$(dirname "$0")/lib.sh"
begin
mkfifo "$work/gate"
own_program 's/VERSION 1/VERSION 2/' <<'C'
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#define VERSION 1

static int go[2];
static volatile int in_child, result, child, blocked;
static const char *gate;

__attribute__((noipa)) int pair_a(void)
{
	return VERSION;
}

__attribute__((noipa)) int pair_b(void)
{
	return VERSION;
}

static void *vfork_thread(void *arg)
{
	pid_t pid = vfork();

	if (!pid) {
		char c;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		child = getpid();
		in_child = 1;
		while (read(go[0], &c, 1) != 1)
			;
		_exit(5);
	}
	waitpid(pid, (int *)&result, 0);
	result = WEXITSTATUS(result) * 100 + pair_a() * 10 + pair_b();
	for (;;)
		pause();
	return arg;
}

/* The child opens a pipe that nobody writes to, before it executes the program. */
static void *spawn_thread(void *arg)
{
	char *const argv[] = {"true", NULL};
	posix_spawn_file_actions_t fa;
	int status = 0;
	pid_t pid = 0;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 9, gate, O_RDONLY, 0);
	in_child = 1;
	if (posix_spawn(&pid, "/bin/true", &fa, NULL, argv, NULL) || waitpid(pid, &status, 0) != pid)
		status = 99 << 8;
	result = 500 + WEXITSTATUS(status) * 1000 + pair_a() * 10 + pair_b();
	for (;;)
		pause();
	return arg;
}

int main(int argc, char **argv)
{
	char line[64];
	pthread_t t;

	gate = argc > 1 ? argv[1] : NULL;
	if (pipe(go))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		int v = 0;

		if (!strncmp(line, "vfork", 5) || !strncmp(line, "spawn", 5)) {
			in_child = result = child = 0;
			v = pthread_create(&t, NULL, *line == 'v' ? vfork_thread : spawn_thread, NULL);
			while (!in_child)
				usleep(1000);
		} else if (!strncmp(line, "child", 5)) {
			v = child;
		} else if (!strncmp(line, "go", 2)) {
			v = write(go[1], "", 1) != 1;
		} else if (!strncmp(line, "result", 6)) {
			while (!result)
				usleep(1000);
			v = result;
		} else {
			v = pair_a() * 10 + pair_b();
		}
		printf("%d\n", v);
		fflush(stdout);
	}
}
C
target t "$work/tree/prog" "$work/gate"
own() { # STATUS load|unload TIMEOUT [PID]
	local at=${4:-$(p)}
	if [ "$2" = load ]; then ctl "$1" load -v --json --timeout "$3" -p "$at" "$work/own.klp"; else ctl "$1" unload -v --json --timeout "$3" -p "$at" own; fi
}
the_child() { # its pid
	cat "/proc/$(p)"/task/*/children | tr ' ' '\n' | grep -m1 .
}
# shellcheck disable=SC2317 # wait_for calls it
is_there() { [ -n "$(the_child)" ] && [ "$(cat "/proc/$(the_child)/comm")" = prog ]; }
expect 11 both
for how in vfork spawn; do
	for what in load unload; do
		if [ $what = load ]; then old=11 new=22; else old=22 new=11; fi
		expect 0 $how
		wait_for 10 is_there || die "no child of $how"
		child=$(the_child)
		own 5 $what 0.5
		expect_result IN_CLONE '[.pending[].reason] | unique | join(" ")'
		expect_result 1 '.pending | length'
		expect $new both
		[ "$(cat "/proc/$child/comm")" = prog ] || die "the child has gone"
		# The child by its own pid is no target: what it would change is its parent's.
		for other in load unload; do
			own 4 $other 0.3 "$child"
			expect_reason BUSY
			result .message | grep -q "in the memory of its parent $(p)" || die "it does not say whose memory that is: $(result .message)"
			expect $new both
		done
		alive
		[ "$(cat "/proc/$child/comm")" = prog ] || die "the child did not live through a command for it"
		# Without -p it is passed by.
		if [ -n "${KLP_OWN_PROCESSES:-}" ] && [ $what = load ]; then
			ctl 5 load -v --json --timeout 0.3 "$work/own.klp"
			[ "$(jq -r '[.processes[].pid] | join(" ")' "$work/json")" = "$(p)" ] || die "not the parent alone was loaded into: $(cat "$work/json")"
		elif [ -n "${KLP_OWN_PROCESSES:-}" ]; then
			ctl 5 unload -v --json --timeout 0.3 own
			[ "$(jq -r '[.processes[].pid] | join(" ")' "$work/json")" = "$(p)" ] || die "not the parent alone was unloaded from: $(cat "$work/json")"
		else
			lacks "no new pid namespace: commands without -p were not tried"
		fi
		expect $new both
		if [ $how = vfork ]; then expect 0 go; else : >"$work/gate"; fi
		ask result # nobody has moved the thread that waited; it is of one version, as a whole
		[ "$REPLY" = 5$old ] || [ "$REPLY" = 5$new ] || die "the thread that waited answers $REPLY"
		own 0 $what 20
		expect $new both
		echo "$how, $what: from $old to $new"
	done
done
