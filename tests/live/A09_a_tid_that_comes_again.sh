#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hazard A9: a fork's child has the tid of a thread that ended, and its caller has that thread's stack. What the table says of that thread, which was in the other
# version, is not believed: neither by the child itself nor by a tool that takes it over.
. "$(dirname "$0")/next_tid.sh"
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<-'C'
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define VERSION 1
static const char *child_in, *child_out;
static int tid;
static pthread_t last;

static void say(int fd, int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", n);

	if (write(fd, text, (size_t)len) != len)
		_exit(3);
}

__attribute__((noipa)) int inner(void)
{
	return VERSION;
}

/* forks: the child has the tid of the thread that called inner() last, and answers whoever asks it. */
__attribute__((noipa)) int outer(int forks)
{
	int in, out, fd;
	char c;

	if (!forks) /* it stays */
		for (;;)
			pause();
	inner();
	fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY);
	if (fd < 0 || dprintf(fd, "%d", tid - 1) <= 0)
		_exit(4);
	close(fd);
	if (fork()) {
		say(1, VERSION);
		for (;;)
			pause();
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getpid() != tid)
		_exit(5);
	in = open(child_in, O_RDWR);
	out = open(child_out, O_RDWR);
	while (read(in, &c, 1) == 1)
		say(out, VERSION * 10 + inner());
	_exit(0);
}

static void *stays(void *arg)
{
	outer(0);
	return arg;
}

static void *calls(void *arg)
{
	tid = (int)syscall(SYS_gettid);
	last = pthread_self();
	inner();
	return arg;
}

static void *forks(void *arg)
{
	if (pthread_equal(last, pthread_self())) /* its stack */
		outer(1);
	say(1, 0);
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t t;
	char c;

	child_in = argv[1];
	child_out = argv[2];
	while (argc == 3 && read(0, &c, 1) == 1) {
		if (pthread_create(&t, NULL, c == 's' ? stays : c == 'c' ? calls : forks, NULL))
			return 1;
		if (c == 'c') {
			pthread_join(t, NULL);
			say(1, tid);
		}
	}
}
C
asked() { # one line of an open descriptor, into REPLY
	IFS= read -r -t $((10 * ${KLP_SLOW:-1})) REPLY <&"$1" || die "no answer"
}
for who in itself tool; do
	mkfifo "$work/in" "$work/out" "$work/child.in" "$work/child.out"
	exec {child_in}<>"$work/child.in" {child_out}<>"$work/child.out"
	"$work/tree/prog" "$work/child.in" "$work/child.out" <"$work/in" >"$work/out" &
	pid[t]=$!
	exec {w}>"$work/in" {r}<"$work/out"
	# A thread stays in the old version, one that is born then in the new one, so the transition is in flight whichever way it goes.
	printf s >&"$w"
	sleep 0.2
	ctl 5 load --json --timeout 0.5 -p "${pid[t]}" "$work/own.klp"
	printf s >&"$w"
	sleep 0.2
	# One calls the new version, and ends; the next one has its stack, and calls the old version, for the transition has been turned round.
	printf c >&"$w"
	asked "$r"
	child=$REPLY
	ctl 5 unload --json --timeout 0.5 -p "${pid[t]}" own
	printf f >&"$w"
	asked "$r"
	[ "$REPLY" = 1 ] || die "the thread that forks has another stack (0) or another version: $REPLY"
	if [ "$who" = tool ]; then
		ctl 5 load --json --timeout 0.5 -p "$child" "$work/own.klp" # it is in the old version, which is left
	fi
	printf i >"$work/child.in"
	asked "$child_out"
	[ "$REPLY" = 11 ] || die "$who: the child says $REPLY, expected 11"
	kill -KILL "$child" "${pid[t]}"
	wait "${pid[t]}" 2>/dev/null
	exec {w}>&- {r}<&- {child_in}>&- {child_out}>&-
	rm "$work/in" "$work/out" "$work/child.in" "$work/child.out"
done
exit 0
