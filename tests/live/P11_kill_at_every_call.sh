#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of klpctl at the entry of each of its system calls, loading and unloading (KLP_FULL=1), or of some of them: no call of the program ends with EINTR or
# too early, and the next klpctl does what it is asked for. A program of one thread, and one whose threads wait in different ways.
# KLP_KILLS=N  at how many of them    KLP_SEED=N  the same ones again
. "$(dirname "$0")/lib.sh"
begin
own_program 's/return x + 1;/return x + 2;/' "-I$root/tests/live" <<'C'
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "raw_call.h"

static unsigned bad;
static unsigned word;

__attribute__((noinline)) int version(int x)
{
	__asm__ volatile("");
	return x + 1;
}

static void failed(const char *call)
{
	fprintf(stderr, "%s: %s\n", call, strerror(errno));
	__atomic_fetch_add(&bad, 1, __ATOMIC_RELAXED);
}

static void *in_epoll(void *arg)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int fd = epoll_create1(0);

	epoll_ctl(fd, EPOLL_CTL_ADD, eventfd(0, 0), &ev);
	for (;;) {
		epoll_wait(fd, &ev, 1, -1);
		failed("epoll_wait");
	}
	return arg;
}

static void *in_futex(void *arg)
{
	for (;;) {
		errno = (int)-raw_call(SYS_futex, (long)&word, FUTEX_WAIT, 0);
		failed("futex");
	}
	return arg;
}

static void *in_poll(void *arg)
{
	for (;;) {
		poll(NULL, 0, -1);
		failed("poll");
	}
	return arg;
}

static void *in_sleep(void *arg)
{
	struct timespec t = {0, 100000000}, a, b;

	for (;;) {
		clock_gettime(CLOCK_MONOTONIC, &a);
		if (nanosleep(&t, NULL))
			failed("nanosleep");
		clock_gettime(CLOCK_MONOTONIC, &b);
		if ((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec < t.tv_nsec)
			failed("a short sleep");
	}
	return arg;
}

int main(int argc, char **argv)
{
	void *(*const waits[])(void *) = {in_epoll, in_futex, in_poll, in_sleep};
	struct epoll_event ev = {.events = EPOLLIN};
	int fd = epoll_create1(0);
	char line[100];

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; argc > 1 && i < 4; i++) {
		pthread_t t;

		pthread_create(&t, NULL, waits[i], NULL);
	}
	if (epoll_ctl(fd, EPOLL_CTL_ADD, 0, &ev))
		failed("epoll_ctl");
	for (;;) {
		ssize_t n;

		if (epoll_wait(fd, &ev, 1, -1) != 1) {
			failed("the main thread's epoll_wait");
			continue;
		}
		n = read(0, line, sizeof(line));
		if (n <= 0)
			return argv[0] == NULL;
		if (!strncmp(line, "bad", 3))
			printf("%u\n", __atomic_load_n(&bad, __ATOMIC_RELAXED));
		else
			printf("%d\n", version(40));
	}
}
C
seed=${KLP_SEED:-$(($(date +%s%N) / 1000 % 100000000))}
RANDOM=$seed
echo "KLP_SEED=$seed"
places=${KLP_KILLS:-$(full 12 100000)} # of each command
kills=0 tries=0

kill_one() { # N COMMAND ARG...
	"$build/bin/live_kill_at_call" "$1" "$klpctl" "${@:2}" >"$work/calls" 2>"$work/err"
	case $? in
	0) kills=$((kills + 1)) ;;
	1) ;;
	*) die "kill_at_call: $(cat "$work/err")" ;;
	esac
}
still_well() { # WHERE
	ask version
	case $REPLY in 41 | 42) ;; *) die "$1: the answer is $REPLY" ;; esac
	expect_no_harm "$1"
}
expect_no_harm() {
	ask bad
	[ "$REPLY" = 0 ] || die "$1: $REPLY calls of the program failed: $(tail -n 1 "$work/$cur.err")"
}
for kind in one many; do
	target $kind "$work/tree/prog" ${kind/#one/}
	for verb in load unload; do
		if [ $verb = load ]; then args=(load -p "$(p)" "$work/own.klp"); else args=(unload -p "$(p)" own); fi
		# How many calls it makes, which is not always the same.
		[ $verb = load ] || ctl 0 load -p "$(p)" "$work/own.klp"
		kill_one 1000000 "${args[@]}"
		calls=$(tail -n 1 "$work/calls")
		[ "$calls" -gt 300 ] || die "$verb: only $calls system calls"
		[ $verb = unload ] || ctl 0 unload -p "$(p)" own
		step=$((calls / places))
		[ $step -gt 0 ] || step=1
		for ((n = 1; n <= calls; n += step)); do
			at=$((n + RANDOM % step))
			[ $verb = load ] || ctl 0 load -p "$(p)" "$work/own.klp"
			tries=$((tries + 1))
			kill_one $at "${args[@]}"
			still_well "$kind, $verb, killed at call $at of $calls"
			ctl 0 load -p "$(p)" "$work/own.klp"
			expect 42 version
			ctl 0 unload -p "$(p)" own
			expect 41 version
			expect_no_harm "$kind, behind $verb killed at call $at of $calls"
		done
		echo "$kind, $verb: $calls calls"
	done
	alive
done
[ $((2 * kills)) -ge $tries ] || die "only $kills of $tries tools were killed"
echo "$kills of $tries tools killed"
