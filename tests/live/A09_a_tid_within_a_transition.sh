#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hazard A9: within one transition a thread ends that has not moved, and a new one has its tid. What the table says of the first is not what is true of the
# second, neither when that is born before everybody has moved nor in the last moment.
. "$(dirname "$0")/next_tid.sh"
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<-'C'
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define VERSION 1
static int go, stay;
static volatile int tid; /* of the last thread */

static void say(const char *what, int n)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%s %d\n", what, n);

	if (write(1, text, (size_t)len) != len)
		_exit(3);
}

__attribute__((noipa)) int inner(void)
{
	return VERSION;
}

/* From its entry to the end of its wait it belongs to one version. */
__attribute__((noipa)) void outer(int fd)
{
	char c;

	say("in", VERSION);
	if (read(fd, &c, 1) != 1)
		_exit(4);
	say("out", VERSION * 10 + inner());
}

static void *goes(void *arg)
{
	tid = (int)syscall(SYS_gettid);
	outer(go);
	return arg;
}

static void *stays(void *arg)
{
	outer(stay);
	return arg;
}

/* A thread with the tid of the last one, which is to be gone. */
static void again(pthread_t last, pthread_t *t)
{
	char path[64];
	int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY), was = tid;

	pthread_join(last, NULL);
	snprintf(path, sizeof(path), "/proc/self/task/%d", was);
	while (!access(path, F_OK))
		usleep(1000);
	if (fd < 0 || dprintf(fd, "%d", was - 1) <= 0 || pthread_create(t, NULL, goes, NULL))
		_exit(5);
	close(fd);
	while (tid != was)
		usleep(1000);
}

int main(int argc, char **argv)
{
	pthread_t t, s;
	char c;

	go = open(argv[1], O_RDWR);
	stay = open(argv[2], O_RDWR);
	while (argc == 3 && read(0, &c, 1) == 1)
		if (c == 'n')
			again(t, &t);
		else if (pthread_create(c == 's' ? &s : &t, NULL, c == 's' ? stays : goes, NULL))
			return 1;
}
C
mkfifo "$work/in" "$work/out" "$work/go" "$work/stay"
exec {go}<>"$work/go" {stay}<>"$work/stay"
says() { # TEXT: the program's next line
	IFS= read -r -t $((20 * ${KLP_SLOW:-1})) REPLY <&"$r" || die "no answer, expected '$1'"
	[ "$REPLY" = "$1" ] || die "the program says '$REPLY', expected '$1'"
}
begun() { # by a tool that waits
	in_flight() { "$klpctl" status --json -p "${pid[t]}" 2>/dev/null | jq -e 'any(.processes[0].patches[]; .transition != null)' >/dev/null; }
	wait_for 10 in_flight || die "no transition began"
	sleep 0.3
}
run() {
	"$work/tree/prog" "$work/go" "$work/stay" <"$work/in" >"$work/out" &
	pid[t]=$!
	exec {w}>"$work/in" {r}<"$work/out"
	printf c >&"$w"
	says "in 1"
}
ends() {
	kill -KILL "${pid[t]}"
	wait "${pid[t]}" 2>/dev/null
	exec {w}>&- {r}<&-
	unset "pid[t]"
}

# Another thread holds the transition up. The new one begins in the old version, like the one whose tid it has, and is waited for.
run
printf s >&"$w"
says "in 1"
"$klpctl" load -v --json --timeout 20 -p "${pid[t]}" "$work/own.klp" >"$work/json" 2>"$work/events" &
others=($!)
begun
printf x >&"$go"
says "out 11"
sleep 0.2
printf n >&"$w"
says "in 1"
sleep 0.2
printf x >&"$stay"
says "out 11"
sleep 0.5
kill -0 "${others[0]}" 2>/dev/null || die "the load did not wait for the thread with the tid of one that ended"
printf x >&"$go"
says "out 11"
wait "${others[0]}" || die "the load ended with status $?"
others=()
ends

# Everybody has moved, the transition is about to be completed: the new one begins in the new version.
run
"$build/bin/live_reused" "${pid[t]}" "$work/own.klp" "$work/in" "$work/out" >"$work/json" 2>"$work/events" &
others=($!)
begun
printf x >&"$go"
says "out 11" # and the tool reads the next line
wait "${others[0]}" || die "no thread with the tid of one that ended was made"
others=()
expect_result 'done' .result
printf x >&"$go"
says "out 22"
ends
exit 0
