#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the tool while a callback runs: the thread goes home, the next command knows what was run and runs what is owed. Then at random
# instants: each pre_patch is followed by one post_unpatch in the end, each post_patch by a pre_unpatch.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
callback_module slow 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(slow_pre_patch)
callback_module fix 's/return x \* 10 + 1;/return x * 10 + 3;/' <<-'C'
	static int pre(void)
	{
		count(0);
		usleep(2000);
		return 0;
	}
	static void post(void)
	{
		count(1);
		usleep(2000);
	}
	static void pre_un(void)
	{
		count(2);
		usleep(2000);
	}
	static void post_un(void)
	{
		count(3);
		usleep(2000);
	}
	KLP_PRE_PATCH(pre);
	KLP_POST_PATCH(post);
	KLP_PRE_UNPATCH(pre_un);
	KLP_POST_UNPATCH(post_un);
C
export GO=$work/go
target t "$work/prog"
for next in "unload slow:begin end undone" "load_own slow:begin end undone begin end"; do
	rm -f "$GO"
	"$klpctl" load -p "$(p)" "$work/slow.klp" >/dev/null 2>&1 &
	others=($!)
	wait_for 10 runs || die "the callback did not begin"
	kill -KILL "${others[0]}"
	wait "${others[0]}" 2>/dev/null
	others=()
	# What traced for the tool does not stay for the callback: the process is free for the next one.
	RC=5 unload slow --timeout 0.3
	expect_reason PENDING
	touch "$GO"
	expect 41 call answer 4
	${next%%:*}
	expect "${next#*:}" log
	RC=0 unload slow
	ask log
done
expect 41 call answer 4
killed=0
one() { # load or unload, in a subshell that becomes klpctl
	if [ "$1" = load ]; then set -- load -p "$(p)" "$work/fix.klp"; else set -- unload -p "$(p)" fix; fi
	exec "$klpctl" "$@" >/dev/null 2>&1
}
for ((i = 0; i < $(full 30 1000); i++)); do
	one "$([ $((RANDOM % 2)) = 0 ] && echo load || echo unload)" & # killed
	others=($!)
	sleep "$(printf 0.%03d $((RANDOM % 20)))"
	kill -KILL "${others[0]}" 2>/dev/null && killed=$((killed + 1))
	wait "${others[0]}" 2>/dev/null
	others=()
	ask call answer 4
	case $REPLY in 41 | 43) ;; *) die "the target answered $REPLY" ;; esac
	(one "$([ $((i % 2)) = 0 ] && echo load || echo unload)") || die "the command behind a kill failed"
done
[ "$killed" -gt 5 ] || die "only $killed tools were killed at work"
unload fix
expect 41 call answer 4
ask calls
read -r pre post pre_un post_un <<<"$REPLY"
[ "$pre" = "$post_un" ] || die "$pre pre_patch callbacks and $post_un post_unpatch"
[ "$post" = "$pre_un" ] || die "$post post_patch callbacks and $pre_un pre_unpatch"
[ "$pre" -gt 3 ] || die "only $pre callbacks ran"
load_own fix
expect 43 call answer 4
unload fix
expect "$((pre + 1)) $((post + 1)) $((pre_un + 1)) $((post_un + 1))" calls
alive
