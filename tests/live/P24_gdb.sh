#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# gdb attached to a patched process shows whole backtraces with names through replacement functions, their callees and klp's trampoline, by
# its script (tools/gdb/klp.py) and by what `klpctl symfile` prints; it forgets what is unloaded.
. "$(dirname "$0")/lib.sh"
begin
command -v gdb >/dev/null || skip "gdb is not installed"
gdb -nx -batch -ex 'python print("yes")' 2>/dev/null | grep -q yes || skip "this gdb has no python"
export KLPCTL=$klpctl
mkdir "$work/tmp"
export TMPDIR=$work/tmp # the script's scratch files

own_program 's/VERSION 1/VERSION 2/;s,/\* added \*/,static __attribute__((noinline)) int added(int fd) { return bottom(fd) + 1; },;s/bottom(fd) + VERSION/added(fd) + VERSION/' <<-'C'
	#include <pthread.h>
	#include <stdio.h>
	#include <stdlib.h>
	#include <string.h>
	#include <unistd.h>

	#define VERSION 1
	#define NOINLINE __attribute__((noinline, noclone))

	static int hold[2], result;
	static volatile int entered;

	/* No patch replaces it. */
	NOINLINE int bottom(int fd)
	{
		char c = 0;

		entered = 1;
		if (fd >= 0 && read(fd, &c, 1) != 1)
			abort();
		return c * 0;
	}

	/* added */
	NOINLINE int inner(int fd)
	{
		return bottom(fd) + VERSION;
	}

	NOINLINE int outer(int fd)
	{
		return inner(fd) * 10 + VERSION;
	}

	static void *waiter(void *arg)
	{
		result = outer(hold[0]);
		return arg;
	}

	NOINLINE int asked(const char *line)
	{
		return line[0] == 'v' ? outer(-1) + (line[1] == 'x') : 0;
	}

	int main(void)
	{
		pthread_t t;
		char line[64];

		if (pipe(hold))
			return 1;
		while (fgets(line, sizeof(line), stdin)) {
			int value = asked(line);

			if (line[0] == 'w') {
				entered = 0;
				if (pthread_create(&t, NULL, waiter, NULL))
					abort();
				while (!entered)
					usleep(1000);
			} else if (line[0] == 'r') {
				if (write(hold[1], "", 1) != 1)
					abort();
				pthread_join(t, NULL);
				value = result;
			}
			printf("%d\n", value);
			fflush(stdout);
		}
		return 0;
	}
C
with_script=(-iex "source $root/tools/gdb/klp.py")
debugger() { # what gdb says; attached as `gdb -p` does it
	gdb -nx -batch -iex 'set debuginfod enabled off' "$@" >"$work/gdb.out" 2>"$work/gdb.err" </dev/null ||
		die "gdb: $(tail -n 5 "$work/gdb.out" "$work/gdb.err")"
}
# The functions of the thread that holds bottom(), from there on, in one line.
names() { sed -nE 's/^#[0-9]+ +(0x[0-9a-f]+ in )?([^ ]+) \(.*/\2/p' "$work/gdb.out" | sed -n '/^bottom$/,/^clone3\?$/p' | paste -sd' '; }
expect_names() {
	local got
	got=$(names)
	got=${got% clone*}
	[ "$got" = "$1" ] || die "gdb shows '$got', expected '$1': $(cat "$work/gdb.out" "$work/gdb.err")"
}
attach() { debugger "${with_script[@]}" -p "$(p)" -ex 'thread apply all bt'; }
old='bottom inner outer waiter start_thread'
new='bottom added inner outer waiter start_thread'

target t "$work/tree/prog"
expect 11 v
ask w
attach
expect_names "$old"
expect 11 r
load_own() { ctl 0 load -v --json -p "$(p)" "$work/own.klp"; }
load_own
expect 32 v
ask w
attach
expect_names "$new"
[ ! -s "$work/gdb.err" ] || ! grep -i klp "$work/gdb.err" || die "gdb complains"
# The same without python: a script of gdb's own commands.
mkdir "$work/symbols"
"$klpctl" symfile -p "$(p)" "$work/symbols" >"$work/symbols/gdb" || die "klpctl symfile"
debugger -p "$(p)" -ex 'set confirm off' -x "$work/symbols/gdb" -ex 'thread apply all bt'
expect_names "$new"
"$klpctl" symfile -p "$(p)" "$work/symbols" >/dev/null 2>&1 && die "files that are there were written over"
rm -r "$work/symbols"
# Addresses, names of new functions and both versions of a replaced one.
debugger "${with_script[@]}" -p "$(p)" -ex 'info symbol added' -ex 'info symbol klp_rt_trampoline' -ex 'break inner'
grep -q '^added in section .text' "$work/gdb.out" || die "gdb does not know the patch's new function: $(cat "$work/gdb.out")"
grep -q '^klp_rt_trampoline in section .text' "$work/gdb.out" || die "gdb does not know klp's trampoline"
grep -q '(2 locations)' "$work/gdb.out" || die "gdb knows one version of a replaced function only: $(tail -3 "$work/gdb.out")"
expect 32 v
expect 32 r

# The trampoline's own frames: while a thread that holds the patch keeps a transition open, the main thread is stopped in it at its first
# instruction and at each of the next ones.
ask w
RC=5 unload own --timeout 0.2
cat >"$work/steps" <<-'G'
	set pagination off
	tbreak *klp_rt_trampoline
	continue
	python
	seen = 0
	for step in range(5000):
	    frame, chain = gdb.selected_frame(), []
	    while frame and len(chain) < 20:
	        chain.append(frame.name() or "?")
	        frame = frame.older()
	    if not chain[0].startswith("klp_rt_"):
	        break
	    if chain[-1] != "main" or chain[-2] != "asked":
	        print("BROKEN", step, chain)
	    seen += 1
	    gdb.execute("stepi", to_string=True)
	print("STEPS", seen, chain[0])
	end
G
gdb -nx -batch -iex 'set debuginfod enabled off' "${with_script[@]}" -p "$(p)" -x "$work/steps" >"$work/gdb.out" 2>"$work/gdb.err" </dev/null &
tool=$!
others+=("$tool")
wait_for 20 grep -q 'Temporary breakpoint' "$work/gdb.out" || die "gdb sets no breakpoint: $(tail -3 "$work/gdb.out" "$work/gdb.err")"
ask v
wait "$tool"
grep -q BROKEN "$work/gdb.out" && die "a backtrace from the trampoline is broken: $(grep -m3 BROKEN "$work/gdb.out")"
grep -E '^STEPS [0-9]{2,} outer$' "$work/gdb.out" || die "gdb did not step through the trampoline: $(tail -n 5 "$work/gdb.out" "$work/gdb.err")"
expect 32 r
unload own
expect 11 v
expect_result false .memory_left
# One gdb that lets go and comes back: what has been unloaded meanwhile is forgotten.
load_own
ask w
: >"$work/gdb.out"
mkfifo "$work/gdb.in"
gdb -nx -q -iex 'set debuginfod enabled off' "${with_script[@]}" <"$work/gdb.in" >>"$work/gdb.out" 2>&1 &
tool=$!
others+=("$tool")
exec 9>"$work/gdb.in"
say() { # NUMBER COMMAND...: until gdb has done them
	local n=$1 c
	shift
	for c; do printf '%s\n' "$c" >&9; done
	printf 'echo DONE-%s\\n\n' "$n" >&9
	wait_for 20 grep -q "DONE-$n" "$work/gdb.out" || die "gdb hangs: $(tail -5 "$work/gdb.out")"
}
say 1 "attach $(p)" 'info symbol added' 'thread apply all bt'
grep -q 'added in section .text' "$work/gdb.out" || die "gdb does not know the patch's function: $(tail -5 "$work/gdb.out")"
expect_names "$new"
RC=4 unload own
expect_reason TRACED
say 2 detach
expect 32 r
unload own
expect 11 v
expect_result false .memory_left
: >"$work/gdb.out"
say 3 "attach $(p)" 'info symbol added' klp-symbols 'info files'
grep -q 'added in section' "$work/gdb.out" && die "gdb still knows what is unloaded"
grep -q 'No symbol "added"' "$work/gdb.out" || die "gdb was not asked: $(cat "$work/gdb.out")"
grep -q '/proc/self/fd' "$work/gdb.out" && die "gdb still has a file of what is unloaded"
say 4 detach
load_own
: >"$work/gdb.out"
say 5 "attach $(p)" 'info symbol added' detach
grep -q 'added in section .text' "$work/gdb.out" || die "gdb does not know what is loaded again: $(cat "$work/gdb.out")"
echo quit >&9
exec 9>&-
wait "$tool"
expect 32 v
unload own
expect 11 v
[ -z "$(ls "$TMPDIR")" ] || die "the script left files behind"
