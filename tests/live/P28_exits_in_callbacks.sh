#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The target exits, or is killed, at random instants of loads and unloads of a patch with callbacks; and inside each of the four, in which it exits by itself: klpctl
# ends soon, with a reason, and a process that comes after it is patched.
. "$(dirname "$0")/lib.sh"
begin
callbacks='$a\
static int sure(const char *name) { const char *when = getenv("EXIT_IN"); if (when \&\& !strcmp(when, name)) _exit(9); usleep(3000); return 0; }\
static int before(void) { return sure("pre_patch"); }\
KLP_PRE_PATCH(before);\
static void after(void) { sure("post_patch"); }\
KLP_POST_PATCH(after);\
static void before_back(void) { sure("pre_unpatch"); }\
KLP_PRE_UNPATCH(before_back);\
static void back(void) { sure("post_unpatch"); }\
KLP_POST_UNPATCH(back);'
own_program "s/VERSION 1/VERSION 2/;$callbacks" "-I$root/klp/include" <<'C'
#include <klp/patch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERSION 1

__attribute__((noipa)) int answer(int x)
{
	return x + VERSION;
}

int main(void)
{
	char line[64];
	ssize_t n;

	while ((n = read(0, line, sizeof(line))) > 0 && line[0] != 'q') {
		n = snprintf(line, sizeof(line), "%d\n", answer(40));
		if (write(1, line, (size_t)n) != n)
			abort();
	}
	return 0;
}
C
forget() { # the current target, which has ended
	eval "exec ${wfd[$cur]}>&- ${rfd[$cur]}<&-"
	unset "pid[$cur]"
}
tool() { # COMMAND [NAME-OR-FILE]: in the background
	"$klpctl" "$1" --json -p "$(p)" "$2" >"$work/json" 2>"$work/events" &
	tool=$!
}
ends() { # STATUS...: of the tool
	local end=$((SECONDS + 20 * ${KLP_SLOW:-1})) rc=0
	while kill -0 $tool 2>/dev/null && [ $SECONDS -lt $end ]; do sleep 0.01; done
	kill -0 $tool 2>/dev/null && die "klpctl hangs after its target has gone"
	wait $tool || rc=$?
	case " $* " in *" $rc "*) status=$rc ;; *) die "exit status $rc when the target ended: $(cat "$work/json")" ;; esac
}
# Inside each callback.
for when in pre_patch post_patch pre_unpatch post_unpatch; do
	export EXIT_IN=$when
	target "$when" "$work/tree/prog"
	tool load "$work/own.klp"
	case $when in
	*_unpatch)
		ends 0
		expect 42 call
		tool unload own
		;;
	esac
	ends 1 3 4
	rc=0
	wait "$(p)" || rc=$?
	[ $rc = 9 ] || die "the target, which exits in $when, ended with status $rc"
	forget
	echo "in $when: status $status, $(result .reason)"
done
unset EXIT_IN
# Anywhere.
before=0 behind=0
for ((i = 0; i < $(full 30 300); i++)); do
	target "t$i" "$work/tree/prog"
	what=load own=$work/own.klp
	if ((i % 3)); then
		ctl 0 load -v --json -p "$(p)" "$own"
		what=unload own=own
	fi
	tool $what "$own"
	sleep "$(tenths $((RANDOM % 90 * 10)))"
	if ((i % 2)); then kill -KILL "$(p)"; else printf 'quit\n' >&"${wfd[$cur]}"; fi
	ends 0 1 3 4
	if [ $status = 0 ]; then behind=$((behind + 1)); else before=$((before + 1)); fi
	rc=0
	wait "$(p)" 2>/dev/null || rc=$?
	case $rc in 0 | 137) ;; *) die "the target ended with status $rc" ;; esac
	forget
done
echo "$before ended before the command was done, $behind behind it"
[ $before -gt 0 ] || die "no target ended during a command: nothing was tried"
target last "$work/tree/prog"
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 42 call
ctl 0 unload -v --json -p "$(p)" own
expect 41 call
