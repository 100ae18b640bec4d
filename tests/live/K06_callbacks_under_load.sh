#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Callbacks in a server under load: they allocate, take the program's own lock and change its data, again and again. No request is lost or answered
# wrongly, and no call ends early.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
mkdir "$work/tree" "$work/a" "$work/b"
cp "$root"/examples/kvd/{Makefile,*.c,*.h} "$work/tree/"
make -s -C "$work/tree" CFLAGS_KLP="$klp_cflags -I$root/klp/include" || die "kvd does not build"
cp "$work/tree/protocol.c" "$work/a/"
{
	sed 's/key->len = (uint8_t)strlen(word);/key->len = (uint8_t)(strlen(word) > 250 ? 0 : strlen(word));/' "$work/a/protocol.c"
	cat <<-'C'
	#include <klp/patch.h>
	#include <stdlib.h>

	static const struct store_key patched_key = {"patched", 7};

	static int churn(void)
	{
		void *block[64];

		for (int i = 0; i < 64; i++)
			block[i] = malloc((size_t)(i + 1) * 100);
		for (int i = 0; i < 64; i++)
			free(block[i]);
		return 0;
	}
	KLP_PRE_PATCH(churn);

	static void set(void)
	{
		store_set(&patched_key, "yes", 3);
	}
	KLP_POST_PATCH(set);

	static void unset(void)
	{
		store_del(&patched_key);
	}
	KLP_PRE_UNPATCH(unset);
	C
} >"$work/b/protocol.c"
(cd "$work" && diff -u a/protocol.c b/protocol.c) >"$work/fix.diff"
"$klp_build" -s "$work/tree" -b "make CFLAGS_KLP='$klp_cflags -I$root/klp/include'" -t ./kvd "$work/fix.diff" -o "$work/fix.klp" >"$work/log" 2>&1 ||
	die "klp-build: $(tail -5 "$work/log")"
"$work/tree/kvd" -t 4 -w off >"$work/port" &
pid[kvd]=$!
cur=kvd
wait_for 10 test -s "$work/port" || die "kvd does not start"
port=$(cat "$work/port")
"$work/tree/kvload" -p "$port" -c 8 -u 500 >"$work/load.json" &
load=$!
others=("$load")
get() { # KEY: what the server answers
	exec 9<>"/dev/tcp/127.0.0.1/$port"
	printf 'GET %s\n' "$1" >&9
	IFS= read -r -t 10 REPLY <&9 || die "the server does not answer"
	exec 9>&-
}
for ((i = 0; i < $(full 20 300); i++)); do
	load_own fix
	expect_result 0 .early_returns
	expect_result "pre_patch post_patch" '[.callbacks[].name] | join(" ")'
	get patched
	[ "$REPLY" = "VALUE yes" ] || die "behind post_patch the server says '$REPLY'"
	unload fix
	expect_result pre_unpatch '[.callbacks[].name] | join(" ")'
	get patched
	[ "$REPLY" != "VALUE yes" ] || die "behind pre_unpatch the server still has the key"
done
kill -INT "$load"
wait "$load" || die "a request was lost or answered wrongly: $(cat "$work/load.json")"
others=()
[ "$(jq .requests "$work/load.json")" -gt 1000 ] || die "there was no load: $(cat "$work/load.json")"
alive
