#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Programs linked with musl. Its functions have no unwind tables, as distributions ship it: no thread that stands in one can be proven, so a load stays pending and names each of
# them, a reversal is complete, and force works. A static program without a signal handler has no way home for a borrowed thread and is refused. Where musl has tables, all
# is as elsewhere.
. "$(dirname "$0")/lib.sh"
begin
command -v musl-gcc >/dev/null || skip "musl-gcc is not installed"
mkdir "$work/tree" "$work/a" "$work/b"
cat >"$work/tree/prog.c" <<'C'
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define VERSION 1

static int pipes[2];
static volatile int inside, left;

__attribute__((noipa)) int answer(int x)
{
	return x * 10 + VERSION;
}

__attribute__((noipa)) int sleeper(void)
{
	char c;

	inside = 1;
	while (read(pipes[0], &c, 1) != 1)
		;
	return 100 * VERSION;
}

static void *sleep_thread(void *arg)
{
	left = sleeper();
	return arg;
}

static void *idle_thread(void *arg)
{
	for (;;)
		pause();
	return arg;
}

int main(int argc, char **argv)
{
	static char line[64], out[32];
	pthread_t t;
	ssize_t n;

#ifdef HANDLER
	signal(SIGUSR1, SIG_IGN);
#endif
	if (pipe(pipes))
		return 1;
	for (int i = 1; i < argc; i++)
		if (pthread_create(&t, NULL, idle_thread, argv))
			return 1;
	while ((n = read(0, line, sizeof(line) - 1)) > 0) {
		int v = 0;

		line[n] = 0;
		if (!strncmp(line, "sleep", 5)) {
			inside = left = 0;
			v = pthread_create(&t, NULL, sleep_thread, NULL);
			while (!inside)
				usleep(1000);
		} else if (!strncmp(line, "wake", 4)) {
			v = write(pipes[1], "", 1) != 1;
			while (!left)
				usleep(1000);
			v = left;
		} else {
			v = answer(4);
		}
		n = snprintf(out, sizeof(out), "%d\n", v);
		if (write(1, out, (size_t)n) != n)
			return 1;
	}
	return 0;
}
C
printf 'prog: prog.o\n\tmusl-gcc -Wl,--build-id $(LINK) -o $@ prog.o\nprog.o: prog.c\n\tmusl-gcc -O2 -g $(DEF) $(KLP_CFLAGS) -c prog.c\n' >"$work/tree/Makefile"
cp "$work/tree/prog.c" "$work/a/"
sed 's/VERSION 1/VERSION 2/' "$work/tree/prog.c" >"$work/b/prog.c"
(cd "$work" && diff -u a/prog.c b/prog.c) >"$work/own.diff"
own() { # STATUS load|unload
	if [ "$2" = load ]; then ctl "$1" load -v --json --timeout 0.5 -p "$(p)" "$work/own.klp"; else ctl "$1" unload -v --json --timeout 0.5 -p "$(p)" own; fi
}
prove_nothing() { # every thread is named, with the reason
	expect_result "UNW_NO_ROW" '[.pending[].reason] | unique | join(" ")'
	expect_result "$1" '.pending | length'
	[ "$("$klpctl" stack --json -p "$(p)" | jq '[.processes[0].threads[] | select(.reliable)] | length')" = 0 ] || die "a stack is said to be reliable"
}
whole_life() { # where musl has unwind tables
	expect 42 x
	expect 0 sleep
	own 5 unload
	expect_result "sleeper [own]" '.pending[0].function'
	expect 200 wake
	own 0 unload
	expect 41 x
}
without_tables() { # THREADS: after a load that is pending
	prove_nothing "$1"
	expect 41 x
	own 0 unload # nobody has moved, so nothing is in the way
	events "reversing transition from patching to unpatching" "unpatching complete"
	expect 41 x
	own 5 load
	expect 41 x
	ctl 0 force -v --json -p "$(p)" own
	expect 42 x
	expect_status true '[.patches[] | select(.enabled)][0].forced'
	expect 0 sleep
	expect 200 wake
	own 5 unload
	prove_nothing "$1"
	expect 42 x
	own 0 load # reversed: each is still in the new code
	expect 42 x
	own 5 unload
	ctl 0 force -v --json -p "$(p)" own
	expect 41 x
	alive
}
for kind in "dynamic" "static -static" "handled -static -DHANDLER"; do
	read -r name link define <<<"$kind"
	rm -f "$work"/tree/prog "$work"/tree/*.o
	make -s -C "$work/tree" LINK="$link" DEF="$define" KLP_CFLAGS="$klp_cflags" || die "the $name program does not build"
	cp "$work/tree/prog" "$work/$name"
	"$klp_build" -s "$work/tree" -b "make LINK=$link DEF=$define KLP_CFLAGS='$klp_cflags'" -t ./prog "$work/own.diff" -o "$work/own.klp" >"$work/log" 2>&1 ||
		die "klp-build, $name: $(tail -3 "$work/log")"
	for threads in 1 3; do
		args=(one more)
		target "$name$threads" "$work/$name" "${args[@]:0:threads-1}"
		before=$(fingerprint "$(p)")
		ctl 0,4,5 load -v --json --timeout 0.5 -p "$(p)" "$work/own.klp"
		outcome=$(result '.result + " " + (.reason // "")')
		case $name:$(result .result) in
		*:done) whole_life ;;
		*:pending) without_tables "$threads" ;;
		static:refused)
			expect_reason NO_BORROW
			result .message | grep -q "rt_sigreturn" || die "the refusal does not say what is missing: $(result .message)"
			[ "$(fingerprint "$(p)")" = "$before" ] || die "a refused load changed the target"
			expect 41 x
			;;
		*) die "$name: $(result '.result + " " + .reason + ": " + .message')" ;;
		esac
		echo "$name, $threads threads: $outcome"
	done
done
