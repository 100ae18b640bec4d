#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fork in every phase of a transition: by a thread that has moved, by one in the middle of a function being left, while sites are armed and slots stored, and when
# the tool was killed somewhere in between. The child never meets two versions, goes on where its parent was, and klpctl takes it to either side by itself.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<'C'
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define VERSION 1

static int sleep_pipe[2], hold_pipe[2], child_fd = -1;
static atomic_int slept, held, inside;
static atomic_long storm_count, storm_wrong;
static pid_t child_pid;

__attribute__((noipa)) int pair_a(void)
{
	return VERSION;
}

__attribute__((noipa)) int pair_b(void)
{
	return VERSION;
}

static int both(void)
{
	return pair_a() * 10 + pair_b();
}

static void say(int fd, int n)
{
	char out[32];
	int len = snprintf(out, sizeof(out), "%d\n", n);

	if (write(fd, out, (size_t)len) != len)
		_exit(3);
}

/* A child's life: one answer for each byte. */
__attribute__((noipa)) void child_serve(void)
{
	char c;

	while (read(child_fd, &c, 1) == 1)
		say(child_fd, both());
	_exit(0);
}

/* In the child: it is the copy of whatever called this. */
static pid_t make_child(void)
{
	int fd[2];
	pid_t pid;

	if (child_fd >= 0)
		close(child_fd);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd))
		abort();
	pid = fork();
	if (pid < 0)
		abort();
	child_fd = fd[pid ? 0 : 1];
	close(fd[pid ? 1 : 0]);
	if (pid)
		child_pid = pid;
	else
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static int ask_child(void)
{
	char in[32] = "";

	if (write(child_fd, "?", 1) != 1 || read(child_fd, in, sizeof(in) - 1) <= 0)
		return -1;
	return atoi(in);
}

__attribute__((noipa)) int sleeper(void)
{
	int a = pair_a();
	char c;

	inside = 1;
	while (read(sleep_pipe[0], &c, 1) != 1)
		;
	return VERSION * 100 + a * 10 + pair_b();
}

static void *sleep_thread(void *arg)
{
	slept = sleeper();
	for (;;)
		pause();
	return arg;
}

/* Half of the contract, a fork, the other half in both. */
__attribute__((noipa)) int holder(pid_t *pid)
{
	int a = pair_a();
	char c;

	inside = 1;
	while (read(hold_pipe[0], &c, 1) != 1)
		;
	*pid = make_child();
	return VERSION * 100 + a * 10 + pair_b();
}

static void *hold_thread(void *arg)
{
	pid_t pid;
	int v = holder(&pid);

	if (!pid) {
		char c;

		if (read(child_fd, &c, 1) == 1)
			say(child_fd, v);
		child_serve();
	}
	held = v;
	for (;;)
		pause();
	return arg;
}

__attribute__((noipa)) int forking(void)
{
	int a = pair_a(), status;
	pid_t pid = fork();

	if (!pid)
		_exit(VERSION * 100 + a * 10 + pair_b());
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	if (a != pair_b())
		return -2;
	return WEXITSTATUS(status);
}

static void *storm_thread(void *arg)
{
	for (;;) {
		int v = forking();

		if (v != 111 && v != 222)
			storm_wrong++;
		storm_count++;
	}
	return arg;
}

static void start(void *(*fn)(void *))
{
	pthread_t t;

	inside = 0;
	if (pthread_create(&t, NULL, fn, NULL))
		abort();
	while (fn != storm_thread && !inside)
		usleep(1000);
}

int main(void)
{
	char line[64];

	if (pipe(sleep_pipe) || pipe(hold_pipe))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		int v = 0;

		if (!strncmp(line, "sleep", 5)) {
			slept = 0;
			start(sleep_thread);
		} else if (!strncmp(line, "wake", 4)) {
			if (write(sleep_pipe[1], "", 1) != 1)
				return 1;
			while (!slept)
				usleep(1000);
			v = slept;
		} else if (!strncmp(line, "hold", 4)) {
			held = 0;
			start(hold_thread);
		} else if (!strncmp(line, "go", 2)) {
			if (write(hold_pipe[1], "", 1) != 1)
				return 1;
			while (!held)
				usleep(1000);
			v = held;
		} else if (!strncmp(line, "fork", 4)) {
			if (!make_child())
				child_serve();
			v = child_pid;
		} else if (!strncmp(line, "pid", 3)) {
			v = child_pid;
		} else if (!strncmp(line, "child", 5)) {
			v = ask_child();
		} else if (!strncmp(line, "end", 3)) {
			close(child_fd);
			child_fd = -1;
			v = waitpid(child_pid, NULL, 0) == child_pid;
		} else if (!strncmp(line, "storm", 5)) {
			start(storm_thread);
		} else if (!strncmp(line, "count", 5)) {
			v = (int)storm_count;
		} else if (!strncmp(line, "wrong", 5)) {
			v = (int)storm_wrong;
		} else {
			v = both();
		}
		say(1, v);
	}
}
C
child_load() {
	ctl "$1" load -v --json --timeout "$2" -p "$child" "$work/own.klp"
}
child_unload() {
	ctl "$1" unload -v --json --timeout "$2" -p "$child" own
}
child_state() {
	local got
	got=$("$klpctl" status --json -p "$child" | jq -r '[.processes[0].patches[] | select(.enabled or .transition != null).state] | join(" ")')
	[ "$got" = "$1" ] || die "the child's patch is '$got', expected '$1'"
}
forked() { # the current target's new child answers as expected
	ask fork
	child=$REPLY
	expect "$1" child
}
there_and_back() { # the child alone, wherever it is
	child_load 0 20
	child_state enabled
	expect 22 child
	child_unload 0 20
	child_state ""
	expect 11 child
	child_load 0 20
	expect 22 child
	expect 1 end
}

target t "$work/tree/prog"
expect 11 both

# A load is pending for the sleeper. A thread that has moved forks: the child has no sleeper, and is complete when somebody says so.
expect 0 sleep
ctl 5 load -v --json --timeout 0.3 -p "$(p)" "$work/own.klp"
expect 22 both
forked 22
child_state enabling
there_and_back
forked 22
child_unload 0 20 # reversed, in the child alone
expect 11 child
expect 22 both
expect_status enabling '.patches[0].state'
expect 1 end

# The one that forks is in the middle of an old function, and goes on in its version in both processes.
expect 0 hold # this one was born new
expect 222 go
expect 222 child
ask pid
child=$REPLY
expect 22 child
there_and_back
expect 111 wake
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 22 both
ctl 0 unload -v --json -p "$(p)" own
expect 11 both
expect 0 hold # this one is old
ctl 5 load -v --json --timeout 0.3 -p "$(p)" "$work/own.klp"
expect_result holder '.pending[0].function'
expect 22 both
expect 111 go
expect 111 child
ask pid
child=$REPLY
child_state enabling
ask child
[ "$REPLY" = 11 ] || [ "$REPLY" = 22 ] || die "the child answers $REPLY"
there_and_back
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 22 both

# The same of an unload.
expect 0 sleep
expect 0 hold
ctl 5 unload -v --json --timeout 0.3 -p "$(p)" own
expect_result 2 '.pending | length'
expect 11 both
forked 11
child_state disabling
child_unload 0 20
expect 11 child
expect 1 end
forked 11
child_load 0 20 # reversed in the child alone
expect 22 child
expect 11 both
expect 1 end
expect 222 go
expect 222 child
ask pid
child=$REPLY
there_and_back
expect 222 wake
ctl 0 unload -v --json -p "$(p)" own
expect 11 both

# A tool is killed anywhere on its way; the child that is born then, and its parent, go on each by itself.
for ((i = 0; i < $(full 8 200); i++)); do
	if ((i % 2)); then
		"$klpctl" unload -p "$(p)" own >/dev/null 2>&1 &
	else
		"$klpctl" load -p "$(p)" "$work/own.klp" >/dev/null 2>&1 &
	fi
	tool=$!
	sleep "0.0$((RANDOM % 3))$((RANDOM % 10))"
	kill -KILL $tool 2>/dev/null
	wait $tool 2>/dev/null
	ask fork
	child=$REPLY
	ask child
	[ "$REPLY" = 11 ] || [ "$REPLY" = 22 ] || die "a child answers $REPLY"
	there_and_back
	if [ $((i % 2)) = 0 ]; then
		ctl 0 load --json -p "$(p)" "$work/own.klp"
		expect 22 both
	else
		ctl 0 unload --json -p "$(p)" own
		expect 11 both
	fi
done

# Threads that fork all the time, with a half of the contract before and one behind.
expect 0 storm
expect 0 storm
for ((i = 0; i < $(full 4 100); i++)); do
	ctl 0 load -v --json --timeout 30 -p "$(p)" "$work/own.klp"
	expect 22 both
	ctl 0 unload -v --json --timeout 30 -p "$(p)" own
	expect 11 both
done
expect 0 wrong
ask count
[ "$REPLY" -gt 20 ] || die "there were only $REPLY forks"
echo "$REPLY forks in the storm"
