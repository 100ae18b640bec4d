#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A signal handler that runs on top of a patched function, also on an alternate stack, and is patched itself. While it waits, the thread is in both: it is
# not moved before both are left, goes on in its version, and is named. Then a storm of signals.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<'C'
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERSION 1

static int victim_pipe[2], handler_pipe[2];
static atomic_int in_victim, in_handler, handled, done, storm_wrong;
static atomic_long storm_calls, storm_signals;
static pthread_t thread;
static char alt[2][65536];

__attribute__((noipa)) int pair_a(void)
{
	return VERSION;
}

__attribute__((noipa)) int pair_b(void)
{
	return VERSION;
}

static void wait_for(int fd)
{
	char c;

	while (read(fd, &c, 1) != 1)
		;
}

__attribute__((noipa)) int victim(void)
{
	int a = pair_a();

	in_victim = 1;
	wait_for(victim_pipe[0]);
	return VERSION * 100 + a * 10 + pair_b();
}

/* The same, but no patch changes it. */
__attribute__((noipa)) int bystander(void)
{
	in_victim = 1;
	wait_for(victim_pipe[0]);
	return 7;
}

__attribute__((noipa)) void on_signal(int sig)
{
	int saved = errno, a = pair_a();

	(void)sig;
	in_handler = 1;
	wait_for(handler_pipe[0]);
	handled = VERSION * 100 + a * 10 + pair_b();
	errno = saved;
}

/* The same, but no patch changes it. */
static void on_other_signal(int sig)
{
	int saved = errno;

	(void)sig;
	in_handler = 1;
	wait_for(handler_pipe[0]);
	handled = 7;
	errno = saved;
}

static void use_alt(int i)
{
	stack_t s = {.ss_sp = alt[i], .ss_size = sizeof(alt[i])};

	if (sigaltstack(&s, NULL))
		abort();
}

static void *victim_thread(void *arg)
{
	int (*fn)(void) = arg;

	use_alt(0);
	done = fn();
	for (;;)
		pause();
	return NULL;
}

/* ---- storm ---- */
__attribute__((noipa)) int loop_body(int n)
{
	int a = pair_a();

	for (int i = 0; i < n; i++)
		if (pair_b() != a)
			return -1;
	return VERSION * 10 + a;
}

__attribute__((noipa)) void on_storm(int sig)
{
	int v = loop_body(3);

	(void)sig;
	if ((v != 11 && v != 22) || v != VERSION * 11)
		storm_wrong++;
	storm_signals++;
}

static void *storm_thread(void *arg)
{
	if (arg)
		use_alt(1);
	for (;;) {
		int v = loop_body(200);

		if (v != 11 && v != 22)
			storm_wrong++;
		storm_calls++;
	}
	return NULL;
}

static void *storm_sender(void *arg)
{
	pthread_t t[2];

	for (int i = 0; i < 2; i++)
		if (pthread_create(&t[i], NULL, storm_thread, i ? arg : NULL))
			abort();
	for (int i = 0;; i++) {
		pthread_kill(t[i & 1], i & 2 ? SIGHUP : SIGWINCH);
		usleep(300);
	}
	return NULL;
}

static void handle(int sig, void (*fn)(int), int flags)
{
	struct sigaction sa = {.sa_handler = fn, .sa_flags = SA_RESTART | flags};

	if (sigaction(sig, &sa, NULL))
		abort();
}

static int started(int (*fn)(void))
{
	in_victim = done = 0;
	if (pthread_create(&thread, NULL, victim_thread, (void *)fn))
		abort();
	while (!in_victim)
		usleep(1000);
	return 0;
}

static int interrupted(int sig)
{
	in_handler = handled = 0;
	pthread_kill(thread, sig);
	while (!in_handler)
		usleep(1000);
	return 0;
}

static int released(int fd, atomic_int *result)
{
	if (write(fd, "", 1) != 1)
		abort();
	while (!*result)
		usleep(1000);
	return *result;
}

int main(void)
{
	char line[64], word[32];
	pthread_t t;
	int n;

	handle(SIGUSR1, on_signal, 0);
	handle(SIGUSR2, on_signal, SA_ONSTACK);
	handle(SIGTTIN, on_other_signal, 0);
	handle(SIGTTOU, on_other_signal, SA_ONSTACK);
	handle(SIGHUP, on_storm, 0);
	handle(SIGWINCH, on_storm, SA_ONSTACK);
	if (pipe(victim_pipe) || pipe(handler_pipe))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		n = 0;
		if (sscanf(line, "%31s %d", word, &n) < 1)
			return 2;
		if (!strcmp(word, "victim"))
			n = started(victim);
		else if (!strcmp(word, "bystander"))
			n = started(bystander);
		else if (!strcmp(word, "signal"))
			n = interrupted(n);
		else if (!strcmp(word, "handler"))
			n = released(handler_pipe[1], &handled);
		else if (!strcmp(word, "leave"))
			n = released(victim_pipe[1], &done);
		else if (!strcmp(word, "storm"))
			n = pthread_create(&t, NULL, storm_sender, "alt");
		else if (!strcmp(word, "calls"))
			n = (int)storm_calls;
		else if (!strcmp(word, "signals"))
			n = (int)storm_signals;
		else if (!strcmp(word, "wrong"))
			n = storm_wrong;
		else
			n = pair_a() * 10 + pair_b();
		printf("%d\n", n);
		fflush(stdout);
	}
}
C
target t "$work/tree/prog"
signal() { expect 0 signal "$(kill -l "$1")"; }
pending() { # load|unload FUNCTION: it is pending for one thread in that function
	if [ "$1" = load ]; then ctl 5 load -v --json --timeout 0.1 -p "$(p)" "$work/own.klp"; else ctl 5 unload -v --json --timeout 0.1 -p "$(p)" own; fi
	expect_result 1 '.pending | length'
	expect_result "$2" '.pending[0].function'
}
over() { # load|unload VERSION
	if [ "$1" = load ]; then ctl 0 load -v --json -p "$(p)" "$work/own.klp"; else ctl 0 unload -v --json -p "$(p)" own; fi
	expect "$2$2" both
}
# OLD NEW load|unload SUFFIX
round() {
	local old=$1 new=$2 what=$3 tail=$4 sig
	for sig in USR1 USR2; do # the second on the alternate stack
		# The handler on top of the function, both are left: first the one, then the other.
		expect 0 victim
		signal $sig
		pending "$what" "on_signal$tail"
		expect "$new$new" both
		expect "$old$old$old" handler
		pending "$what" "victim$tail"
		expect "$old$old$old" leave
		over "$what" "$new"
		expect 0 victim
		signal $sig
		expect "$new$new$new" handler
		expect "$new$new$new" leave
		# Back, for the next. The handler alone is what is left: it interrupted a function that stays.
		local back tail_back
		if [ "$what" = load ]; then back=unload tail_back=" [own]"; else back=load tail_back=; fi
		expect 0 bystander
		signal $sig
		pending $back "on_signal$tail_back"
		expect "$new$new$new" handler
		over $back "$old"
		signal $sig # the same thread, in the same place
		expect "$old$old$old" handler
		expect 7 leave
	done
	for sig in TTIN TTOU; do # a handler that stays, on top of what is left
		expect 0 victim
		signal $sig
		pending "$what" "victim$tail"
		expect 7 handler
		# A new handler on top of an old function: the thread is old as a whole.
		signal USR2
		pending "$what" "on_signal$tail"
		expect "$old$old$old" handler
		expect "$old$old$old" leave
		over "$what" "$new"
		if [ "$what" = load ]; then over unload "$old"; else over load "$old"; fi
	done
}
round 1 2 load ""
over load 2
round 2 1 unload " [own]"
over unload 1
expect 0 storm
for ((i = 0; i < $(full 5 200); i++)); do
	ctl 0 load -v --json --timeout 30 -p "$(p)" "$work/own.klp"
	ctl 0 unload -v --json --timeout 30 -p "$(p)" own
done
expect 0 wrong
ask signals
[ "$REPLY" -gt 100 ] || die "only $REPLY signals came"
echo "$REPLY signals in the storm"
ask calls
[ "$REPLY" -gt 100 ] || die "only $REPLY calls were made"
expect 11 both
