# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# A program whose threads call, all the time, functions that call a library's functions that call the program's. Sourced after lib.sh.
#
# pl_program: $work/prog and $work/libpair.so, $work/other/libpair.so of another build. The program answers "open" (loads the library of its
# argument and lets the threads go) and "close" with 0, "call" with the version that it sees (-1 without the library), "mixed" with how often a call
# has seen two versions, "calls" with how many there were, "note" with what callbacks have noted.
pl_program() {
	mkdir -p "$work/tree" "$work/a" "$work/b" "$work/other"
	cat >"$work/tree/version.h" <<-'C'
	#define VERSION 1
	#define LIBRARY_VERSION 1
	C
	cat >"$work/tree/pair.c" <<-'C'
	#include <klp/patch.h>
	#include "version.h"
	void note(int c);
	__attribute__((noipa)) static int inner(void)
	{
		return LIBRARY_VERSION;
	}
	/* Between two of its own versions it calls the program's, which may take a while. */
	__attribute__((noipa)) int pair(int (*leaf)(int), int slow)
	{
		int v = LIBRARY_VERSION * 100 + leaf(slow) * 10;

		return v + inner();
	}
	C
	cat >"$work/tree/prog.c" <<-'C'
	#include <dlfcn.h>
	#include <pthread.h>
	#include <stdatomic.h>
	#include <stdio.h>
	#include <stdlib.h>
	#include <string.h>
	#include <unistd.h>
	#include <klp/patch.h>
	#include "version.h"

	#define THREADS 6
	char notes[4096];
	typedef int (*pair_fn)(int (*leaf)(int), int slow);
	static pair_fn pair;
	static atomic_int stop;
	static atomic_long mixed, calls;

	void note(int c)
	{
		size_t n = strlen(notes);

		if (n < sizeof(notes) - 1)
			notes[n] = (char)c;
	}
	__attribute__((noipa)) static int leaf(int slow)
	{
		if (slow)
			usleep(2000);
		return VERSION;
	}
	/* 1111 for the first version as a whole, 2222 for the second one. */
	__attribute__((noipa)) static int check(pair_fn fn, int slow)
	{
		return VERSION * 1000 + fn(leaf, slow);
	}
	static void *work(void *arg)
	{
		int slow = (long)arg & 1;

		while (!atomic_load(&stop)) {
			int v = check(pair, slow);

			atomic_fetch_add(&calls, 1);
			if (v % 1111)
				atomic_fetch_add(&mixed, 1);
			if ((long)arg == 2)
				usleep(100);
		}
		return NULL;
	}

	int main(int argc, char **argv)
	{
		pthread_t thread[THREADS];
		char line[256], out[4200];
		void *handle = NULL;
		ssize_t n;

		while ((n = read(0, line, sizeof(line) - 1)) > 0) {
			long v = 0;

			line[n] = 0;
			if (!strncmp(line, "open", 4)) {
				handle = dlopen(argv[argc - 1], RTLD_NOW);
				pair = handle ? (pair_fn)dlsym(handle, "pair") : NULL;
				v = !pair;
				stop = 0;
				for (long i = 0; i < THREADS && pair; i++)
					if (pthread_create(&thread[i], NULL, work, (void *)i))
						abort();
			} else if (!strncmp(line, "close", 5)) {
				stop = 1;
				for (int i = 0; i < THREADS; i++)
					pthread_join(thread[i], NULL);
				pair = NULL;
				v = dlclose(handle);
			} else if (!strncmp(line, "calls", 5)) {
				v = calls;
			} else if (!strncmp(line, "call", 4)) {
				v = pair ? check(pair, 0) : -1;
			} else if (!strncmp(line, "mixed", 5)) {
				v = mixed;
			} else if (!strncmp(line, "note", 4)) {
				n = snprintf(out, sizeof(out), "%s\n", notes);
				memset(notes, 0, sizeof(notes));
				if (write(1, out, (size_t)n) != n)
					abort();
				continue;
			}
			n = snprintf(out, sizeof(out), "%ld\n", v);
			if (write(1, out, (size_t)n) != n)
				abort();
		}
		return 0;
	}
	C
	cat >"$work/tree/Makefile" <<-C
	all: libpair.so prog
	libpair.so: pair.o; \$(CC) -shared -Wl,-soname,libpair.so -o \$@ pair.o
	pair.o: pair.c version.h; \$(CC) -O2 -g -fPIC -I$root/klp/include \$(KLP_CFLAGS) \$(OTHER) -c pair.c
	prog: prog.o; \$(CC) -rdynamic -o \$@ prog.o -pthread
	prog.o: prog.c version.h; \$(CC) -O2 -g -I$root/klp/include \$(KLP_CFLAGS) -c prog.c
	C
	make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" || die "the test's program does not build"
	cp "$work/tree/libpair.so" "$work/tree/prog" "$work/"
	rm "$work/tree/pair.o" "$work/tree/libpair.so"
	make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" OTHER=-fno-inline || die "the other library does not build"
	sed -i 's/LIBRARY_VERSION \* 100/LIBRARY_VERSION * 10 * 10 + 0 * slow/' "$work/tree/pair.c"
	rm "$work/tree/pair.o" "$work/tree/libpair.so"
	make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" OTHER=-O1 libpair.so || die "the other library does not build"
	cp "$work/tree/libpair.so" "$work/other/"
	sed -i 's/LIBRARY_VERSION \* 10 \* 10 + 0 \* slow/LIBRARY_VERSION * 100/' "$work/tree/pair.c"
	rm "$work/tree"/*.o "$work/tree"/*.so "$work/tree/prog"
}
# pl_patch NAME SED [FILE]...: $work/NAME.klp of what sed makes of the tree's files.
pl_patch() {
	local name=$1 sed=$2
	rm -rf "$work/a" "$work/b"
	mkdir "$work/a" "$work/b"
	cp "$work/tree"/*.[ch] "$work/a/"
	cp "$work/tree"/*.[ch] "$work/b/"
	sed -i "$sed" "$work/b"/*.[ch]
	(cd "$work" && diff -u a b) >"$work/$name.diff"
	"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t prog -t libpair.so --running "$work/prog" --running "$work/libpair.so" \
		"$work/$name.diff" -o "$work/$name.klp" --report "$work/$name.json" --label "CVE-2031-1000 ($name)" >"$work/log" 2>&1 || die "klp-build: $(tail -30 "$work/log")"
}
# given_back NAME: nothing is left of it. Where a thread could not be seen outside of its memory in time, the next command gives it back.
no_patch() {
	ctl 0 unload --json -p "$(p)" "$1"
	[ "$(status '.patches | length')" = 0 ]
}
given_back() {
	[ "$(status '.patches | length')" = 0 ] || wait_for 20 no_patch "$1" || die "there is still: $(cat "$work/status")"
}
