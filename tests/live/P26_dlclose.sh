#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# dlclose of a patched object: before a load, while a patch is enabled, while its transition waits for a thread, and with the file, or another one, mapped at the
# same place afterwards. The program is never harmed, nothing is written where its new code is, klpctl says "gone", and an unload gives everything back.
. "$(dirname "$0")/lib.sh"
begin
mkdir -p "$work/tree" "$work/a" "$work/b"
library() { # NAME FUNCTION BODY
	printf 'int %s(int x);\nstatic volatile int calls;\nint __attribute__((noipa)) %s(int x)\n{\n\tcalls++;\n\treturn %s;\n}\n' "$2" "$2" "$3" >"$work/tree/$1.c"
}
library lib lib_answer 'x * 10 + 1'
library alien alien_answer '(x ^ 5) + calls * 0 + x * x * x'
cat >"$work/tree/prog.c" <<'C'
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

static int go[2];
static volatile int in_vfork, out_of_vfork;

__attribute__((noipa)) int prog_answer(int x)
{
	return x * 10 + 5;
}

static void *vfork_thread(void *arg)
{
	pid_t pid = vfork();

	if (!pid) {
		char c;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		in_vfork = 1;
		while (read(go[0], &c, 1) != 1)
			;
		_exit(0);
	}
	out_of_vfork = 1;
	for (;;)
		pause();
	return arg;
}

int main(void)
{
	static char line[400], word[32], name[300], symbol[32];
	void *handle = NULL;
	int (*fn)(int) = NULL;
	pthread_t t;

	if (pipe(go))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		int v = 0;

		sscanf(line, "%31s %299s %31s", word, name, symbol);
		if (!strcmp(word, "open")) {
			handle = dlopen(name, RTLD_NOW);
			fn = handle ? (int (*)(int))dlsym(handle, symbol) : NULL;
			v = fn != NULL;
		} else if (!strcmp(word, "close")) {
			v = dlclose(handle);
			fn = NULL;
		} else if (!strcmp(word, "where")) {
			printf("%p\n", (void *)fn);
			fflush(stdout);
			continue;
		} else if (!strcmp(word, "vfork")) {
			in_vfork = out_of_vfork = 0;
			v = pthread_create(&t, NULL, vfork_thread, NULL);
			while (!in_vfork)
				usleep(1000);
		} else if (!strcmp(word, "end")) {
			v = write(go[1], "", 1) != 1;
			while (!out_of_vfork)
				usleep(1000);
		} else if (!strcmp(word, "mine")) {
			v = prog_answer(4);
		} else {
			v = fn ? fn(4) : -1;
		}
		printf("%d\n", v);
		fflush(stdout);
	}
}
C
cat >"$work/tree/Makefile" <<'MAKE'
all: lib.so alien.so prog
%.so: %.o
	$(CC) -shared -o $@ $<
%.o: %.c
	$(CC) -O2 -g -fPIC $(KLP_CFLAGS) -c $<
prog: prog.o
	$(CC) -o $@ prog.o -pthread
MAKE
make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" || die "the test's program does not build"
cp "$work/tree/lib.so" "$work/tree/alien.so" "$work/tree/prog" "$work/"
build() { # NAME OBJECT FILE SED
	rm -rf "$work"/[ab]/*
	cp "$work/tree/$3" "$work/a/"
	sed "$4" "$work/tree/$3" >"$work/b/$3"
	(cd "$work" && diff -u "a/$3" "b/$3") >"$work/$1.diff"
	"$klp_build" -s "$work/tree" -b "make $2 KLP_CFLAGS='$klp_cflags'" -t "./$2" "$work/$1.diff" -o "$work/$1.klp" >"$work/log" 2>&1 ||
		die "klp-build $1: $(tail -3 "$work/log")"
}
build own lib.so lib.c 's/x \* 10 + 1/x * 10 + 2/'
build over lib.so lib.c 's/x \* 10 + 1/x * 10 + 3/'
build mine prog prog.c 's/x \* 10 + 5/x * 10 + 6/'
own() { # STATUS load|unload [OPTION...]
	local want=$1 what=$2
	shift 2
	if [ "$what" = load ]; then ctl "$want" load -v --json -p "$(p)" "$@" "$work/own.klp"; else ctl "$want" unload -v --json -p "$(p)" "$@" own; fi
}
site() { # WORD: what status says of the library's function
	expect_status "$1" '.patches[] | select(.name == "own" and .enabled) | .functions[0].site'
}
nothing_left() { # the target's mappings are what they were before anything was opened
	maps >"$work/after"
	diff "$work/before" "$work/after" >"$work/differ" || die "$1: left or changed mappings: $(cat "$work/differ")"
}
target t "$work/prog"
expect 1 open "$work/lib.so" lib_answer
expect 0 close
maps >"$work/before"

# A load for an object that is not there any more; and one that comes and goes in the right order.
own 3 load
expect_reason NO_OBJECT
nothing_left "a load that does not apply"
expect 1 open "$work/lib.so" lib_answer
own 0 load
expect 42 x
own 0 unload
expect 41 x
expect 0 close
nothing_left "a patch that was unloaded before the object was closed"

# Closed while the patch is enabled.
expect 1 open "$work/lib.so" lib_answer
own 0 load
expect 42 x
site armed
expect 0 close
site gone
own 3 load
expect_reason NO_OBJECT
ctl 0 load -v --json -p "$(p)" "$work/mine.klp" # a patch of what is there
expect 46 mine
site gone
ctl 0 unload -v --json -p "$(p)" mine
expect 45 mine
own 0 unload
expect_result false .memory_left
nothing_left "an unload behind dlclose"

# Opened again: the file's own code, at the same place if nobody else has taken it. klpctl does not say that it is patched.
for _ in 1 2; do
	expect 1 open "$work/lib.so" lib_answer
	ask where
	first=$REPLY
	own 0 load
	expect 42 x
	expect 0 close
	expect 1 open "$work/lib.so" lib_answer
	ask where
	[ "$REPLY" = "$first" ] || echo "NOTE: it was opened at another place"
	expect 41 x
	site gone
	before=$(text_print "$(p)")
	own 4 load
	expect_reason EXISTS
	result .message | grep -q "the program has closed: unload it first" || die "the refusal does not say why: $(result .message)"
	ctl 4 load --json -p "$(p)" "$work/over.klp" # the same function, by another patch
	[ "$(text_print "$(p)")" = "$before" ] || die "a refused load changed the target"
	expect 41 x
	own 0 unload
	expect 41 x
	own 0 load
	site armed
	expect 42 x
	own 0 unload
	expect 41 x
	expect 0 close
	nothing_left "a file that was opened again"
done

# Another file at that place: klp's old sites are other code now, and nobody writes there.
expect 1 open "$work/lib.so" lib_answer
ask where
first=$REPLY
own 0 load
expect 0 close
expect 1 open "$work/alien.so" alien_answer
ask where
[ "$REPLY" = "$first" ] || echo "NOTE: the other file was opened at another place"
expect 65 x
before=$(text_print "$(p)")
site gone
own 3 load
own 0 unload
[ "$(text_print "$(p)")" = "$before" ] || die "an unload wrote into somebody else's code"
expect 65 x
expect 0 close
nothing_left "another file at the same place"

# Closed while a transition is pending: for a thread whose vfork child lives.
for what in load unload; do
	for then in nothing lib alien; do
		expect 1 open "$work/lib.so" lib_answer
		[ $what = load ] || own 0 load
		expect 0 vfork
		own 5 $what --timeout 0.1
		expect_result IN_CLONE '.pending[0].reason'
		expect 0 close
		[ $then = nothing ] || expect 1 open "$work/$then.so" ${then}_answer
		before=$(text_print "$(p)")
		expect_status gone '.patches[0].functions[0].site'
		if [ $then = lib ]; then own 4 load; else own 3 load; fi
		if [ $what = load ]; then # that thread has not moved yet; its memory waits
			own 0 unload
			expect_result true .memory_left
		else
			own 5 unload --timeout 0.1
		fi
		expect 0 end
		own 0 unload
		[ "$(text_print "$(p)")" = "$before" ] || die "$what, $then: somebody else's code was written to"
		case $then in lib) expect 41 x ;; alien) expect 65 x ;; *) expect -1 x ;; esac
		[ $then = nothing ] || expect 0 close
		expect_status 0 '.patches | length'
	done
done
expect 45 mine
alive
