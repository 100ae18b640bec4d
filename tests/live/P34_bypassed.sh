#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A uprobe on a patched function of the layout without the extra NOP (16,14, what clang's programs have on x86_64): it takes the site's own first byte, so the old code
# runs while it is there. status says so at once, and the patch comes off cleanly afterwards; a load under a probe is refused.
. "$(dirname "$0")/lib.sh"
begin
[ "$(uname -m)" = x86_64 ] || skip "elsewhere a uprobe at the symbol never takes the site's bytes"
klp_cflags=${klp_cflags/19,16/16,14}
own_program 's/VERSION 1/VERSION 2/' <<'C'
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define VERSION 1

__attribute__((noipa)) int answer(int x)
{
	return x + VERSION;
}

static int fd[2];
static volatile int inside;

/* Until it is told to leave. */
__attribute__((noipa)) int stay(void)
{
	char c;

	inside = 1;
	return (int)read(fd[0], &c, 1) - 1 + VERSION;
}

static void *stays(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)stay();
}

int main(void)
{
	char line[64];
	pthread_t t;

	if (pipe(fd))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		void *result;
		int v;

		if (!strncmp(line, "stay", 4)) {
			inside = 0;
			v = pthread_create(&t, NULL, stays, NULL);
			while (!v && !inside)
				usleep(1000);
		} else if (!strncmp(line, "leave", 5)) {
			v = write(fd[1], "", 1) == 1 && !pthread_join(t, &result) ? (int)(intptr_t)result : -1;
		} else {
			v = answer(40);
		}
		printf("%d\n", v);
		fflush(stdout);
	}
}
C
patched() { # BY-CALLS SITE WHEN
	expect "$1" call
	expect_status "$2" '.patches[0].functions[0].site'
	echo "$3: $1, $2"
}
target t "$work/tree/prog"
. "$(dirname "$0")/probe.sh"
probe_of "$work/tree/prog" answer
expect 41 call
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
patched 42 armed "loaded"
probe_on
patched 41 bypassed "probed"
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect_result skipped .result
patched 41 bypassed "still"
# The kernel leaves the file's byte; the next load arms the site again.
probe_off
patched 41 partial "the probe has gone"
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect_result "done" .result
events 'the patch site of answer was put back by another tracer'
patched 42 armed "loaded again"
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect_result skipped .result
# Under a probe no transition ends, and behind it each does.
for what in unload load; do
	if [ $what = load ]; then own=$work/own.klp; else own=own; fi
	probe_on
	if [ $what = load ]; then
		ctl 4 load -v --json --timeout 0.3 -p "$(p)" "$own"
		expect_reason SITE_TAKEN
	else
		ctl 5 unload -v --json --timeout 0.3 -p "$(p)" "$own"
		expect_result true '.message | contains("answer is bypassed")'
	fi
	expect 41 call
	probe_off
	ctl 0 $what -v --json -p "$(p)" "$own"
	echo "$what behind the probe: done"
done
patched 42 armed "loaded"
ctl 0 unload -v --json -p "$(p)" own
expect 41 call
# Who went into the old code past the site, and is in it still, keeps a load from ending, whoever asks.
expect 0 stay
ctl 5 load -v --json --timeout 0.3 -p "$(p)" "$work/own.klp"
probe_of "$work/tree/prog" stay
probe_on
expect 1 leave
expect 0 stay
probe_off
for _ in 1 2; do
	ctl 5 load -v --json --timeout 0.3 -p "$(p)" "$work/own.klp"
	expect_result true '.message | contains("may be in code that was called past a patch site")'
done
expect 1 leave
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 42 call
expect 0 stay
expect 2 leave
ctl 0 unload -v --json -p "$(p)" own
expect 41 call
