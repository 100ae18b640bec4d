#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# K05: klpctl watch without -p patches each process that starts and maps the object, says when one ends, and takes no child that lives in its
# parent's memory for one. In a pid namespace of its own, for it looks at every process that it can see.
if [ -z "${KLP_OWN_PROCESSES:-}" ]; then
	unshare --pid --fork --mount-proc true 2>/dev/null || {
		echo "SKIPPED: no new pid namespace" >&2
		exit 77
	}
	KLP_OWN_PROCESSES=1 exec unshare --pid --fork --mount-proc --kill-child "$0"
fi
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define VERSION 1

__attribute__((noipa)) int answer(void)
{
	return VERSION;
}

int main(void)
{
	char line[64], out[32];

	while (read(0, line, sizeof(line)) > 0) {
		int len;

		if (line[0] == 'v') { /* a child in this memory, for a while */
			pid_t child = vfork();

			if (!child) {
				execl("/bin/sh", "sh", "-c", "exit 0", (char *)NULL);
				_exit(1);
			}
			waitpid(child, NULL, 0);
		}
		len = snprintf(out, sizeof(out), "%d\n", answer());
		if (write(1, out, (size_t)len) != len)
			abort();
	}
	return 0;
}
C
"$klpctl" watch --json --interval 0.05 "$work/own.klp" >"$work/watched" 2>"$work/events" &
watcher=$!
others+=("$watcher")
happened() { # COUNT EVENT
	local i n
	for ((i = 0; i < 400; i++)); do
		n=$(jq -s --arg e "$2" '[.[] | select(.event == $e)] | length' "$work/watched" 2>/dev/null)
		[ "$n" = "$1" ] && return
		sleep 0.05
	done
	die "events '$2': $n, expected $1: $(cat "$work/watched")"
}
for ((i = 1; i <= 3; i++)); do
	target "t$i" "$work/tree/prog"
	happened $i came
	expect 2 x
	for ((k = 0; k < 10; k++)); do expect 2 v; done
done
[ "$(jq -rs '[.[] | select(.result.result != "done")] | length' "$work/watched")" = 0 ] || die "not only loads: $(cat "$work/watched")"
kill -KILL "$(p)"
happened 1 ended
kill -TERM $watcher
wait $watcher || die "klpctl watch ended with $?"
happened 3 came
