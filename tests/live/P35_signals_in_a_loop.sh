#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A daemon that lets signals in only while it waits, as a careful one does: SIGCHLD of children that end all the time and an interval timer's SIGALRM, in every gap
# of the stops and borrows of loads and unloads. Each signal ends its wait with EINTR, once, and nothing else ends it.
# Where no register tells a call that a stop has ended from one that a handler has ended (aarch64, riscv64), klp does not issue all of them again: those are
# counted.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define VERSION 1

/* How often each handler ran in this wait, and in all. */
static volatile sig_atomic_t alarms, children;
static long all_alarms, all_children, without, swallowed, failed;

__attribute__((noipa)) int answer(int x)
{
	return x + VERSION;
}

static void on_signal(int sig)
{
	if (sig == SIGALRM)
		alarms++;
	else
		children++;
}

/* In every way in which a wait can let signals in; the last three return when a question has come, too. */
static int wait_once(int way, int epoll, const sigset_t *open)
{
	struct pollfd p = {.fd = 0, .events = POLLIN};
	struct epoll_event ev;
	fd_set in;

	if (way == 0)
		return sigsuspend(open);
	if (way == 1)
		return epoll_pwait(epoll, &ev, 1, -1, open);
	if (way == 2)
		return ppoll(&p, 1, NULL, open);
	FD_ZERO(&in);
	FD_SET(0, &in);
	return pselect(1, &in, NULL, NULL, NULL, open);
}

static void child(void)
{
	pid_t pid = fork();

	if (pid < 0)
		abort();
	if (!pid) {
		usleep(3000);
		_exit(answer(0) != 1 && answer(0) != 2);
	}
}

static void reap(void)
{
	int status;

	while (waitpid(-1, &status, WNOHANG) > 0) {
		failed += status != 0;
		child();
	}
}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_signal}; /* with both blocked in it: one handler ends one wait */
	struct epoll_event ev = {.events = EPOLLIN};
	sigset_t shut, open;
	int epoll = epoll_create1(0), us = 0;
	char line[64];

	sigemptyset(&open);
	sigemptyset(&shut);
	sigaddset(&shut, SIGALRM);
	sigaddset(&shut, SIGCHLD);
	sa.sa_mask = shut;
	setvbuf(stdin, NULL, _IONBF, 0);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &ev) || sigprocmask(SIG_BLOCK, &shut, NULL) ||
	    sigaction(SIGALRM, &sa, NULL) || sigaction(SIGCHLD, &sa, NULL))
		return 1;
	for (unsigned turn = 0;; turn++) {
		/* sigsuspend does not see a question: only between alarms. */
		int rc, error, way = us ? (int)(turn % 4) : 1 + (int)(turn % 3);

		alarms = children = 0;
		rc = wait_once(way, epoll, &open);
		error = errno;
		all_alarms += alarms;
		all_children += children;
		if (rc < 0) {
			without += error != EINTR || !(alarms + children);
			swallowed += alarms + children > 1;
			reap();
			continue;
		}
		swallowed += alarms + children != 0;
		if (!fgets(line, sizeof(line), stdin))
			return 0;
		if (!strncmp(line, "alarm", 5)) {
			struct itimerval it = {{0, us = atoi(line + 6)}, {0, us}};

			printf("%d\n", setitimer(ITIMER_REAL, &it, NULL));
		} else if (!strncmp(line, "children", 8)) {
			child();
			child();
			printf("0\n");
		} else if (!strncmp(line, "said", 4)) {
			printf("%ld %ld %ld %ld %ld\n", all_alarms, all_children, without, swallowed, failed);
		} else {
			printf("%d\n", answer(40));
		}
		fflush(stdout);
	}
}
C
target t "$work/tree/prog"
early=0 # calls of which klp says that they ended early
expect 0 children
for us in 211 5003; do
	expect 0 alarm $us
	ask said
	read -r alarms children _ <<<"$REPLY"
	for ((i = 0; i < $(full 15 300); i++)); do
		ctl 0 load -v --json -p "$(p)" "$work/own.klp"
		early=$((early + $(result .early_returns)))
		expect 42 call
		ctl 0 unload -v --json -p "$(p)" own
		early=$((early + $(result .early_returns)))
		expect 41 call
	done
	ask said
	echo "every $us us: alarms, children, ends without a signal, signals that ended nothing, wrong children: $REPLY"
	read -r now_alarms now_children without wrong <<<"$REPLY"
	if [ "$(uname -m)" != x86_64 ] && [ "$without" -gt 0 ] && [ "$without" -le $early ]; then
		lacks "no register tells a call that the stop of a thread has ended from one that a handler has: $without waits ended without a signal, $early are counted as early returns"
		without=0
	fi
	wrong="$without $wrong"
	[ "$wrong" = "0 0 0" ] || die "ends without a signal, signals that ended nothing, wrong children: $wrong"
	[ "$now_alarms" -gt "$alarms" ] && [ "$now_children" -gt "$children" ] || die "no signals came: $REPLY, before $alarms $children"
done
expect 0 alarm 0
