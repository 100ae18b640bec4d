#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# B30: rules that compile and link in one command, from one source and from several, in a clean tree and in one where the program or an archive of
# an earlier build lies; and the forms that cannot be seen through, which are refused with their reason.
# shellcheck source=tests/build/lib.sh
. "$(dirname "$0")/lib.sh"
begin

# at_once NAME RULE [TARGET]: klp-build on a tree with that makefile; TARGET is made in it before.
at_once() {
	rm -rf "$scratch/tree"
	mkdir "$scratch/tree"
	cd "$scratch/tree" || exit 1
	cp "$tests/common/loop.c" "$tests/common/probe.h" .
	printf '#include "probe.h"\n\n__attribute__((noinline)) void probe(const char *input)\n{\n\tputs(*input ? "old answer" : "no answer");\n}\n' >main.c
	cat loop.c main.c >prog.c
	printf '%b' "$2" >Makefile
	status=0
	[ $# -lt 3 ] || make -s "$3" >/dev/null
	diff -u main.c <(sed 's/old answer/new answer/' main.c) | sed '1s/.*/--- a\/main.c/;2s/.*/+++ b\/main.c/' >"$scratch/main.diff" || true
	diff -u prog.c <(sed 's/old answer/new answer/' prog.c) | sed '1s/.*/--- a\/prog.c/;2s/.*/+++ b\/prog.c/' >"$scratch/prog.diff" || true
	tree_state "$scratch/tree" >"$scratch/state.before"
	"$klp_build" -s . -b make -t prog -n fix -o "$scratch/fix.klp" --report "$scratch/report.json" "$scratch/$diff.diff" \
		>"$scratch/out" 2>&1 </dev/null || status=$?
	tree_state "$scratch/tree" >"$scratch/state.after"
	cmp -s "$scratch/state.before" "$scratch/state.after" || fail "$1: the source tree was changed"
	nothing_left "$1"
}
built() {
	[ "$status" -eq 0 ] || fail "$1: exit status $status: $(cat "$scratch/out")"
	report_has changed "$2" || fail "$1: $2 is not among the changed functions"
	[ "$(jq '.changed | length' "$scratch/report.json")" = 1 ] || fail "$1: $(jq -c .changed "$scratch/report.json")"
}
refused() {
	[ "$status" -eq 4 ] || fail "$1: exit status $status: $(cat "$scratch/out")"
	grep -qE -- "$2" "$scratch/out" || fail "$1: no message matches $2: $(cat "$scratch/out")"
}

# shellcheck disable=SC2016 # make expands it
flags='$(CC) -O2 -g $(KLP_CFLAGS)'
diff=prog
at_once one "prog: prog.c\n\t$flags -o prog prog.c\n"
built one probe
at_once one-there "prog: prog.c\n\t$flags -o prog prog.c\n" prog
built one-there probe
at_once language "prog: prog.c\n\tcp prog.c prog.text\n\t$flags -MMD -MF prog.dep -x c prog.text -x none -Wl,-O1 -o prog -lm\n"
built language probe
diff=main
at_once several "prog: loop.c main.c\n\t$flags loop.c main.c -o prog\n" prog
built several probe
at_once mixed "prog: loop.c main.o\n\t$flags -o prog loop.c main.o\nmain.o: main.c\n\t$flags -c main.c\n" prog
built mixed probe
at_once archive "prog: loop.c libmain.a\n\t$flags -o prog loop.c libmain.a\nlibmain.a: main.c\n\t$flags -c main.c\n\tar rcs libmain.a main.o\n\trm main.o\n" prog
built archive probe
at_once input "prog: loop.c main.c\n\tcat main.c | $flags -o prog loop.c -x c -\n"
refused input 'compiled from standard input and linked by one command'
at_once lto "prog: loop.c main.c\n\t$flags -flto -o prog loop.c main.c\n"
refused lto 'link-time optimi'
# what the object is called goes into the program: compiled apart it is another one
at_once named "prog: loop.c main.c\n\t$flags -fprofile-generate -o prog loop.c main.c\n"
refused named 'compiling it apart \(-c\) gives another program'
finish
