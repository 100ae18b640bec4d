#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# More threads are born during one transition than the thread table has places: then nothing can be proven, klpctl says so, nobody sees two
# versions, and an unload turns it round. The next transition begins with the places of the living.
. "$(dirname "$0")/lib.sh"
# More thread numbers than the table has places: the limit is a pid namespace's own since Linux 6.14.
if [ "$(cat /proc/sys/kernel/pid_max)" -lt 100000 ]; then
	[ -z "${KLP_OWN_PROCESSES:-}" ] || skip "the number of processes cannot be raised"
	[ "$(printf '6.14\n%s\n' "$(uname -r)" | sort -V | head -1)" = 6.14 ] ||
		skip "pid_max is $(cat /proc/sys/kernel/pid_max), and Linux $(uname -r) would raise it for the whole machine"
	unshare --pid --fork --mount-proc true 2>/dev/null || skip "no new pid namespace"
	# shellcheck disable=SC2016 # for the shell inside
	KLP_OWN_PROCESSES=1 exec unshare --pid --fork --mount-proc --kill-child sh -c 'echo 200000 >/proc/sys/kernel/pid_max; "$0"' "$0"
fi
begin
own_program 's/VERSION 1/VERSION 2/' <<-'C'
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VERSION 1
static atomic_ulong born, old, mixed;
static atomic_int quick;
static int gate[2];

__attribute__((noinline)) int inner(int x)
{
	return x + VERSION;
}

__attribute__((noinline)) int call(int x)
{
	return inner(x) - x + VERSION * 16;
}

__attribute__((noipa)) int kept(void)
{
	return 7;
}

__attribute__((noinline)) int stay(void)
{
	char c;

	if (read(gate[0], &c, 1) != 1)
		abort();
	return VERSION;
}

static void *once(void *arg)
{
	int v = call(5);

	atomic_fetch_add(&mixed, v % 16 != v / 16);
	atomic_fetch_add(&old, v == 17);
	atomic_fetch_add(&born, 1);
	return arg;
}

static void *births(void *arg)
{
	pthread_t t;

	for (;;) {
		if (!atomic_load(&quick)) {
			usleep(1000);
			continue;
		}
		if (pthread_create(&t, NULL, once, NULL))
			abort();
		pthread_join(t, NULL);
	}
	return arg;
}

static void *stays(void *arg)
{
	for (;;)
		stay();
	return arg;
}

int main(void)
{
	char line[64], out[128];
	pthread_t t;

	if (pipe(gate) || pthread_create(&t, NULL, stays, NULL) || pthread_create(&t, NULL, births, NULL) ||
	    pthread_create(&t, NULL, births, NULL))
		return 1;
	while (read(0, line, sizeof(line)) > 0) {
		int len;

		if (line[0] == 'q')
			atomic_store(&quick, line[1] == '1');
		if (line[0] == 'g' && write(gate[1], "", 1) != 1)
			abort();
		len = snprintf(out, sizeof(out), "%lu %lu %lu %d %d\n", atomic_load(&born), atomic_load(&old), atomic_load(&mixed),
			       call(5), kept());
		if (write(1, out, (size_t)len) != len)
			abort();
	}
	return 0;
}
C
# A patch that stays, so that the table does not go with the last one.
sed 's/return 7;/return 8;/' "$work/tree/prog.c" >"$work/b/prog.c"
(cd "$work" && diff -u a/prog.c b/prog.c) >"$work/keep.diff"
"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t ./prog "$work/keep.diff" -o "$work/keep.klp" >"$work/log" 2>&1 ||
	die "klp-build: $(tail -3 "$work/log")"
target t "$work/tree/prog"
number() { # the N-th number of the answer to x
	local field
	ask x
	read -ra field <<<"$REPLY"
	echo "${field[$1]}"
}
# The gate opens while klpctl works: who stays is met at the door when it enters again.
moving() {
	rm -f "$work/moved"
	until [ -e "$work/moved" ]; do
		sleep 0.2
		ask g
	done &
	"$@"
	touch "$work/moved"
	wait $!
}
moving ctl 0 load -v --json -p "$(p)" "$work/keep.klp"
[ "$(number 4)" = 8 ] || die "the patch that stays is not there"
for round in 1 2; do
	ctl 5 load -v --json -p "$(p)" --timeout 0.3 "$work/own.klp"
	ask q1
	began=$(number 0)
	until [ $(($(number 0) - began)) -gt 36000 ]; do sleep 0.1; done
	# The table is full: said by name.
	ctl 5 load -v --json -p "$(p)" --timeout 1 "$work/own.klp"
	case $(result .message) in *"thread table"*) ;; *) die "round $round: the message is $(result .message)" ;; esac
	ctl 0 unload -v --json -p "$(p)" --timeout 10 own
	events "reversing transition"
	ask q0
	[ "$(number 3)" = 17 ] || die "the old version is not back"
	# And now there is room.
	moving ctl 0 load -v --json -p "$(p)" "$work/own.klp"
	[ "$(number 3)" = 34 ] || die "the new version is not there"
	before=$(number 1)
	ask q1
	sleep 0.2
	[ "$(number 1)" = "$before" ] || die "new threads call the old version"
	ask q0
	moving ctl 0 unload -v --json -p "$(p)" own
	[ "$(number 3)" = 17 ] || die "the old version is not back"
done
[ "$(number 2)" = 0 ] || die "$(number 2) threads saw two versions"
