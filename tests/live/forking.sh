# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # variables of lib.sh, and of who sources this
# A program that forks in the middle of a transition, inside and outside of what is patched. Sourced after lib.sh.
#
# forking_program: $work/tree/prog and $work/own.klp. It does what each letter of its standard input says and answers with a number: "o" enters outer()
# and stays there till "l"; in there "i" calls inner() and says both versions, as "v" does in a vfork child, "t" calls it in a new thread, and "s" waits for
# nothing any more. Outside "c" calls inner(), and "k" has a thread stay in a patched function for good. Everywhere "w" has one wait outside of them, and
# "f" forks: the child reads from the pipe of its first argument and answers to that of the second one.
forking_program() {
	own_program 's/VERSION 1/VERSION 2/' <<-'C'
	#include <fcntl.h>
	#include <pthread.h>
	#include <stdatomic.h>
	#include <stdio.h>
	#include <stdlib.h>
	#include <string.h>
	#include <sys/prctl.h>
	#include <sys/wait.h>
	#include <unistd.h>

	#define VERSION 1
	static int in = 0, out = 1;
	static char *child_in, *child_out;
	static atomic_int staying;

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

	__attribute__((noipa)) int stay(void)
	{
		volatile int version = VERSION;

		atomic_fetch_add(&staying, 1);
		while (version)
			pause();
		return 0;
	}

	static void *stays(void *arg)
	{
		return stay() ? arg : NULL;
	}

	static void *waits(void *arg)
	{
		for (;;)
			pause();
		return arg;
	}

	static void begin(void *(*fn)(void *))
	{
		pthread_t t;

		if (pthread_create(&t, NULL, fn, NULL))
			_exit(4);
	}

	static void forks(void)
	{
		pid_t pid = fork();

		if (pid) {
			say((int)pid);
			return;
		}
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		in = open(child_in, O_RDWR);
		out = open(child_out, O_RDWR);
	}

	/* Whatever is called in here is to be of its own version. */
	__attribute__((noipa)) int outer(void)
	{
		volatile int n = 0;
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
			case 'w':
				begin(waits);
				say(0);
				break;
			case 's':
				say(0);
				for (;;)
					n++;
			case 'f':
				forks();
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
		int n;

		if (argc != 3)
			return 2;
		child_in = argv[1];
		child_out = argv[2];
		while (read(in, &c, 1) == 1)
			switch (c) {
			case 'o':
				say(outer());
				break;
			case 'c':
				say(inner());
				break;
			case 'k':
				n = atomic_load(&staying);
				begin(stays);
				while (atomic_load(&staying) == n)
					usleep(1000);
				say(n + 1);
				break;
			case 'w':
				begin(waits);
				say(0);
				break;
			case 'f':
				forks();
				break;
			}
	}
	C
}
# family: starts one, $parent.
family() {
	mkfifo "$work/child.in" "$work/child.out" "$work/parent.in" "$work/parent.out"
	"$work/tree/prog" "$work/child.in" "$work/child.out" <"$work/parent.in" >"$work/parent.out" 2>"$work/parent.err" &
	parent=$!
	pid[family]=$parent
	exec {to_parent}>"$work/parent.in" {from_parent}<"$work/parent.out"
}
# parent LETTER [ANSWER]
parent() {
	printf '%s' "$1" >&"$to_parent"
	[ -z "${2:-}" ] || parent_says "$2" "$1"
}
parent_says() {
	local said
	IFS= read -r -t $((10 * ${KLP_SLOW:-1})) said <&"$from_parent" || die "the parent does not answer '$2'"
	[ "$said" = "$1" ] || die "the parent, asked '$2', says $said, expected $1"
}
# a_child: it forks; $child.
a_child() {
	printf 'f' >&"$to_parent"
	IFS= read -r -t $((10 * ${KLP_SLOW:-1})) child <&"$from_parent" || die "no fork"
	exec {keep_in}<>"$work/child.in" {keep_out}<>"$work/child.out"
}
# child LETTER ANSWER
child() {
	local said
	printf '%s' "$1" >"$work/child.in"
	IFS= read -r -t $((10 * ${KLP_SLOW:-1})) said <"$work/child.out" || die "the child does not answer '$1'"
	[ "$said" = "$2" ] || die "the child, asked '$1', says $said, expected $2"
}
# Both are ended, and all is as before family.
end_family() {
	kill -KILL "$child" "$parent"
	wait "$parent" 2>/dev/null
	unset 'pid[family]'
	exec {to_parent}>&- {from_parent}<&- {keep_in}>&- {keep_out}>&-
	rm "$work/child.in" "$work/child.out" "$work/parent.in" "$work/parent.out"
}
