#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A fork's child has the patch that its parent had: its callbacks run in it, and those of the parent are the parent's.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/callbacks.sh"
begin
callbacks_program
written() { # KIND TYPE: a callback that writes its process and its kind into the file $GO
	cat <<-C
	static $2 do_$1(void)
	{
		int fd = open(getenv("GO"), O_WRONLY | O_APPEND | O_CREAT, 0600);

		dprintf(fd, "%d $1\\n", (int)getpid());
		close(fd);
		$([ "$2" = int ] && echo "return 0;")
	}
	KLP_${1^^}(do_$1);
	C
}
callback_module fix 's/return x \* 10 + 1;/return x * 10 + 2;/' < <(
	echo '#include <fcntl.h>'
	written pre_patch int
	written post_patch void
	written pre_unpatch void
	written post_unpatch void
)
export GO=$work/go
target t "$work/prog"
load_own fix
ask fork
child=$REPLY
[ "$child" -gt 0 ] || die "fork failed"
others=("$child")
sleep 0.2
ctl 0 unload --json -p "$child" fix
expect_result "pre_unpatch post_unpatch" '[.callbacks[].name] | join(" ")'
ctl 0 load --json -p "$child" "$work/fix.klp"
expect 42 call answer 4
unload fix
expect 41 call answer 4
want="$(p) pre_patch
$(p) post_patch
$child pre_unpatch
$child post_unpatch
$child pre_patch
$child post_patch
$(p) pre_unpatch
$(p) post_unpatch"
[ "$(cat "$GO")" = "$want" ] || die "callbacks: $(cat "$GO"), expected: $want"
alive
