#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The tool is killed at random instants of loads and unloads of a patch with shadow variables: the variable that the program has is never lost, the
# next command completes or undoes, and at the end nothing is left.
. "$(dirname "$0")/lib.sh"
begin
own_program '
/^#include <unistd.h>/a\
#include <klp/shadow.h>
s/return x + 1;/{ long *v = klp_shadow_get_or_alloc(\&room, 1, 8, NULL, NULL); return v ? (int)++*v : -1; }/
s/return x + 2;/{ klp_shadow_free(\&room, 1, NULL); return x + 3; }/
' "-I$root/klp/include" <<'C'
#include <stdio.h>
#include <string.h>
#include <unistd.h>

char room[16];

__attribute__((noipa)) int next(int x)
{
	return x + 1;
}
__attribute__((noipa)) int drop(int x)
{
	return x + 2;
}

int main(void)
{
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin))
		printf("%d\n", strncmp(line, "drop", 4) ? next(1) : drop(1));
	return 0;
}
C
target t "$work/tree/prog"
expect 2 next
before=$(maps)
count=0
RANDOM=${SEED:-1}
for ((i = 0; i < $(full 60 1000); i++)); do
	timeout -s KILL "$(tenths $((10 + RANDOM % 40 * 10)))" "$klpctl" load -p "$(p)" "$work/own.klp" >/dev/null 2>&1
	ctl 0 load -v --json -p "$(p)" "$work/own.klp"
	expect $((++count)) next
	timeout -s KILL "$(tenths $((10 + RANDOM % 40 * 10)))" "$klpctl" unload -p "$(p)" own >/dev/null 2>&1
	ctl 0 unload -v --json -p "$(p)" own
	expect 2 next
	if ((i % 5 == 4)); then # begin anew, from a process without klp
		ctl 0 load -v --json -p "$(p)" "$work/own.klp"
		expect 4 drop
		ctl 0 unload -v --json -p "$(p)" own
		expect_result false .memory_left
		[ "$(maps)" = "$before" ] || die "mappings are left: $(diff <(echo "$before") <(maps))"
		count=0
	else
		expect_status 1 .shadow_variables
	fi
done
