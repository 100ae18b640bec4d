#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# K05, K07: an object whose constructor takes long is patched by klpctl watch while it runs: the stated window is the time between two looks, not that of dlopen. The thread in
# the constructor is inside the loader, where nobody's callbacks may run: a patch with a pre_patch callback is refused, and comes when it has left.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/plugin.sh"
begin
plugin_program
cat >>"$work/tree/plugin.c" <<-'C'
#include <stdlib.h>
#include <unistd.h>
int plugin_answer(int x);
static int (*volatile asked)(int) = plugin_answer;
__attribute__((constructor)) static void comes(void)
{
	const char *ms = getenv("CONSTRUCTOR_MS");
	char c;

	for (int i = 0; ms && i < atoi(ms) / 10; i++)
		usleep(10000);
	if (!ms && read(0, &c, 1) == 1)
		strcat(notes, asked(0) == 2 ? "constructor-saw-2 " : "constructor-saw-1 ");
}
C
make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" || die "the test's plug-in does not build"
cp "$work/tree/plugin.so" "$work/"
plugin_patch fix 's/VERSION 1/VERSION 2/'
plugin_patch callbacks 's/VERSION 1/VERSION 2/;$a static int before(void) { strcat(notes, "pre_patch "); return 0; }\
KLP_PRE_PATCH(before);\
static void after(void) { strcat(notes, "post_patch "); }\
KLP_POST_PATCH(after);'
target t "$work/prog" "$work/plugin.so"
# "open" is under way until the constructor, which waits in the middle of it, has read its byte.
opening() {
	printf 'open\n' >&"${wfd[t]}"
}
opened() {
	printf 'g' >&"${wfd[t]}"
	IFS= read -r -t $((20 * ${KLP_SLOW:-1})) REPLY <&"${rfd[t]}" || die "the object was never opened"
	[ "$REPLY" = 0 ] || die "open answered $REPLY"
	expect "$1" note
}
watch_for fix
opening
happened 1 came "done"
opened "constructor-saw-2 "
expect 2 call
expect 0 close
happened 1 went "done"
kill -TERM $watcher
wait $watcher
# With callbacks: no thread may run them before the constructor is out of the loader, and the transition begins behind the first.
watch_for callbacks --timeout 0.3
opening
refused() { [ "$(jq -rs '.[0].result.reason' "$work/watched" 2>/dev/null)" = "$1" ]; }
wait_for 10 refused NO_CALLBACK_THREAD || die "the first event is $(head -1 "$work/watched")"
opened "constructor-saw-1 "
happened 1 came "done"
expect 2 call
expect "pre_patch post_patch " note
expect 0 close
happened 1 went "done"
kill -TERM $watcher
wait $watcher
# Its only thread is in timed calls for longer than klpctl waits for one that it may borrow: refused, and tried again.
export CONSTRUCTOR_MS=$((7000 * ${KLP_SLOW:-1}))
target sleeps "$work/prog" "$work/plugin.so"
watch_for fix
printf 'open\n' >&"${wfd[sleeps]}"
wait_for 10 refused NO_BORROW || die "the first event is $(head -1 "$work/watched")"
IFS= read -r -t $((20 * ${KLP_SLOW:-1})) REPLY <&"${rfd[sleeps]}" || die "the object was never opened"
happened 1 came "done"
expect 2 call
