#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many processes hammer a patched function. One command without -p patches them all: each is seen in the new code, none is left pending, and a process
# of another program is not touched. One command takes it back.
# In a pid namespace of its own, for an unload without -p asks every patched process that the tool can see.
if [ -z "${KLP_OWN_PROCESSES:-}" ]; then
	unshare --pid --fork --mount-proc true 2>/dev/null || {
		echo "SKIPPED: no new pid namespace" >&2
		exit 77
	}
	KLP_OWN_PROCESSES=1 exec unshare --pid --fork --mount-proc --kill-child "$0"
fi
. "$(dirname "$0")/lib.sh"
begin
n=$(full 8 60)
own_program 's/VERSION 1/VERSION 2/' "-DPROCESSES=$n" <<'C'
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define VERSION 1
#define THREADS 2
#define BURST 2000

static struct seen {
	atomic_int version;
	atomic_long rounds, mixed;
} *seen; /* of each thread of each process */

__attribute__((noipa)) int inner(void)
{
	return VERSION;
}

__attribute__((noipa)) int hammered(int x)
{
	return x + inner() * 10 + VERSION;
}

static void *hammer(void *arg)
{
	struct seen *me = arg;

	for (;; usleep(1000)) {
		for (int i = 0; i < BURST; i++) {
			int v = hammered(0);

			if (v != 11 && v != 22)
				me->mixed++;
			me->version = v;
		}
		me->rounds++;
	}
	return NULL;
}

static int child(struct seen *mine)
{
	pthread_t t;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&t, NULL, hammer, &mine[i]))
			return 1;
	for (;;)
		pause();
}

int main(void)
{
	char line[64];

	seen = mmap(NULL, sizeof(*seen) * PROCESSES * THREADS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (seen == MAP_FAILED)
		return 1;
	for (int i = 0; i < PROCESSES; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return 1;
		if (!pid)
			return child(&seen[i * THREADS]);
	}
	while (fgets(line, sizeof(line), stdin)) {
		int low = 999, high = 0;
		long mixed = 0;

		/* Two whole rounds of each from now on. */
		for (int i = 0; i < PROCESSES * THREADS; i++)
			for (long from = seen[i].rounds; seen[i].rounds < from + 2;)
				usleep(1000);
		for (int i = 0; i < PROCESSES * THREADS; i++) {
			int v = seen[i].version;

			low = v < low ? v : low;
			high = v > high ? v : high;
			mixed += seen[i].mixed;
		}
		printf("%d-%d mixed %ld\n", low, high, mixed);
		fflush(stdout);
	}
}
C
start stranger
load fix
target t "$work/tree/prog"
ASK_TIMEOUT=60
expect "11-11 mixed 0" x
all() { # JQ-EXPRESSION over all processes of the last result
	jq -r "$1" "$work/json"
}
for round in 1 2; do
	ctl 0 load -v --json --timeout 60 "$work/own.klp"
	[ "$(all '[.processes[] | select(.result == "done")] | length')" = $((n + 1)) ] || die "not $((n + 1)) processes were patched"
	[ "$(all '[.processes[].pending // [] | length] | add')" = 0 ] || die "somebody is left pending"
	expect "22-22 mixed 0" x
	"$klpctl" status --json >"$work/status" || die "status failed"
	[ "$(jq '[.processes[] | select([.patches[] | select(.name == "own" and .state == "enabled")] | length == 1)] | length' "$work/status")" = $((n + 1)) ] ||
		die "status does not show $((n + 1)) patched processes"
	ctl 0 load --json "$work/own.klp"
	[ "$(all '[.processes[] | select(.result == "skipped")] | length')" = $((n + 1)) ] || die "they are not said to be patched already"
	ctl 0 unload -v --json --timeout 60 own
	[ "$(all '[.processes[] | select(.result == "done")] | length')" = $((n + 1)) ] || die "not $((n + 1)) processes were unpatched"
	expect "11-11 mixed 0" x
	echo "round $round: $((n + 1)) processes"
done
use stranger
expect 42 call answer 4
expect_status "fix" '[.patches[].name] | join(" ")'
expect_status false '[.patches[].functions[].name] | any(. == "hammered")'
