#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hazard A9: a fork's child wakes up with its caller's frames. While a tool takes it over in the middle of its parent's transition, its calls go on to the
# version of the function that it is in: also when the tool has just begun, when another thread of the child calls first, and when a vfork child does.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<-'C'
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define VERSION 1
static int in = 0, out = 1;
static char *child_in, *child_out;

__attribute__((noipa)) int inner(void)
{
	return VERSION;
}

static void say(int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", n);

	if (write(out, text, (size_t)len) != len)
		_exit(3);
}

static void *calls(void *arg)
{
	*(int *)arg = inner();
	return NULL;
}

/* Whatever is called in here is to be of its own version. */
__attribute__((noipa)) int outer(void)
{
	char c;

	while (read(in, &c, 1) == 1) {
		volatile int said = 0;
		pthread_t t;
		pid_t pid;

		switch (c) {
		case 'i':
			say(VERSION * 10 + inner());
			break;
		case 'v':
			pid = vfork();
			if (!pid) {
				said = inner();
				_exit(0);
			}
			waitpid(pid, NULL, 0);
			say(VERSION * 10 + said);
			break;
		case 't': /* which version a new thread calls is its own affair */
			if (pthread_create(&t, NULL, calls, (void *)&said) || pthread_join(t, NULL))
				_exit(4);
			say(said != 0);
			break;
		case 'f':
			pid = fork();
			if (pid) {
				say((int)pid);
				break;
			}
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			in = open(child_in, O_RDWR);
			out = open(child_out, O_RDWR);
			break;
		case 'l':
			return VERSION;
		}
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	char c;

	if (argc != 3)
		return 2;
	child_in = argv[1];
	child_out = argv[2];
	while (read(in, &c, 1) == 1)
		say(c == 'o' ? outer() : 0);
}
C
# What the child is asked, and what it says.
child() { # QUESTION ANSWER
	local said
	printf '%s' "$1" >"$work/child.in"
	IFS= read -r -t $((10 * ${KLP_SLOW:-1})) said <"$work/child.out" || die "the child does not answer '$1'"
	[ "$said" = "$2" ] || die "the child, asked '$1', says $said, expected $2"
}
for how in taken thread vfork; do
	mkfifo "$work/child.in" "$work/child.out"
	mkfifo "$work/$how.in" "$work/$how.out"
	"$work/tree/prog" "$work/child.in" "$work/child.out" <"$work/$how.in" >"$work/$how.out" 2>"$work/$how.err" &
	pid[$how]=$!
	exec {w}>"$work/$how.in" {r}<"$work/$how.out"
	printf 'o' >&$w # it is inside now, and stays
	sleep 0.2
	"$klpctl" load -p "${pid[$how]}" --timeout 0.5 "$work/own.klp" >/dev/null 2>&1
	[ $? = 5 ] || die "the parent's transition is not pending"
	printf 'f' >&$w
	IFS= read -r -t $((10 * ${KLP_SLOW:-1})) forked <&$r || die "no fork"
	exec {keep}<>"$work/child.in" {keep_out}<>"$work/child.out"
	case $how in
	taken)
		"$build/bin/live_adopted" "$forked" "$work/own.klp" "$work/child.in" "$work/child.out" >"$work/said" 2>"$work/events" || die "$(cat "$work/events")"
		[ "$(cat "$work/said")" = 11 ] || die "the child, while it is taken over, says $(cat "$work/said"), expected 11"
		;;
	thread) child t 1 ;;
	vfork) child v 11 ;;
	esac
	child i 11
	child v 11
	# It is taken to the new version by itself when it has left the old one.
	"$klpctl" load -p "$forked" --timeout 0.5 "$work/own.klp" >/dev/null 2>&1
	[ $? = 5 ] || die "$how: the child's transition is not pending, and it is inside the old version"
	child i 11
	child v 11
	printf 'l' >"$work/child.in"
	IFS= read -r said <"$work/child.out"
	[ "$said" = 1 ] || die "$how: the child left version $said"
	"$klpctl" load -p "$forked" "$work/own.klp" >/dev/null 2>&1 || die "$how: the child's transition does not end"
	printf 'o' >"$work/child.in"
	child i 22
	kill -KILL "$forked" "${pid[$how]}"
	wait "${pid[$how]}" 2>/dev/null
	unset "pid[$how]"
	exec {w}>&- {r}<&- {keep}>&- {keep_out}>&-
	rm "$work/child.in" "$work/child.out"
done
exit 0
