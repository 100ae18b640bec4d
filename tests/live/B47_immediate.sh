#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# --consistency=immediate: nobody is waited for. A thread inside the old function stays there and answers as it did, all others take the new one; it is unloaded like any
# patch, while that thread is still there. What would mix, or could be unmapped under a thread, is refused. A later patch of the same function waits for those who stayed.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/version = 1/version = 2/' <<'C'
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile int inside, leave, result;

__attribute__((noipa)) int other(void)
{
	return 7;
}

__attribute__((noipa)) int stay(int wait)
{
	int version = 1;

	if (wait) {
		inside++;
		while (!leave)
			usleep(1000);
	}
	return version;
}

static void *stays(void *arg)
{
	result = stay(1);
	return arg;
}

int main(void)
{
	char line[64];
	pthread_t t;

	while (fgets(line, sizeof(line), stdin)) {
		int v = 0;

		if (!strncmp(line, "in", 2)) {
			inside = leave = 0;
			v = pthread_create(&t, NULL, stays, NULL);
			while (!inside)
				usleep(1000);
		} else if (!strncmp(line, "out", 3)) {
			leave = 1;
			pthread_join(t, NULL);
			v = result;
		} else if (!strncmp(line, "other", 5)) {
			v = other();
		} else {
			v = stay(0);
		}
		printf("%d\n", v);
		fflush(stdout);
	}
}
C
own_module next 's/version = 1/version = 3/'
own_module both 's/version = 1/version = 4/; s/return 7/return 8/'
looked=$(looked 0.3)
target t "$work/tree/prog"
expect 1 version
before=$(fingerprint "$(p)")
# Not with functions that belong together.
ctl 4 load -v --json --consistency=immediate -p "$(p)" "$work/both.klp"
expect_reason COUPLED
[ "$(fingerprint "$(p)")" = "$before" ] || die "a refused load has left something"
expect 0 in
ctl 5 load -v --json --timeout "$looked" -p "$(p)" "$work/own.klp"
ctl 0 unload -v --json -p "$(p)" own
ctl 0 load -v --json --consistency=immediate -p "$(p)" "$work/own.klp"
expect 2 version
expect 1 out
expect 2 version
expect 0 in # inside the new function
ctl 5 unload -v --json --timeout "$looked" -p "$(p)" own
expect_result 'stay [own]' '.pending[0].function'
ctl 0 load -v --json --consistency=immediate -p "$(p)" "$work/own.klp" # turns it back
expect 2 out
ctl 0 unload -v --json -p "$(p)" own
expect 1 version
# Inside the original: an unload does not wait for it.
expect 0 in
ctl 0 load -v --json --consistency=immediate -p "$(p)" "$work/own.klp"
ctl 0 unload -v --json -p "$(p)" own
expect 1 version
ctl 0 load -v --json --consistency=immediate -p "$(p)" "$work/own.klp"
# Above another patch, or in place of it: refused. In the usual way: it waits for who stayed in the original.
ctl 4 load -v --json --consistency=immediate -p "$(p)" "$work/next.klp"
expect_reason COUPLED
ctl 4 load -v --json --consistency=immediate --replace -p "$(p)" "$work/next.klp"
expect_reason COUPLED
ctl 5 load -v --json --timeout "$looked" -p "$(p)" "$work/next.klp"
expect_result 1 '.pending | length'
expect_result stay '.pending[0].function'
expect 1 out
ctl 0 load -v --json -p "$(p)" "$work/next.klp"
expect 3 version
ctl 0 unload -v --json -p "$(p)" next
expect 2 version
ctl 0 unload -v --json -p "$(p)" own
expect 1 version
alive
