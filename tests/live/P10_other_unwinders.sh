#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A program with an unwinder linked into it (-static-libgcc), which klp cannot tell of a module: neither C++ code nor the plain C code that its
# exceptions pass through is patched. The same for a plug-in's own unwinder, while it is there, and C++ code; plain C of the program is patched.
. "$(dirname "$0")/lib.sh"
begin
mkdir "$work/tree" "$work/a" "$work/b"
cat >"$work/tree/plain.c" <<-'C'
	#define VERSION 1
	int plain(int (*fn)(int), int x);
	int plain(int (*fn)(int), int x)
	{
		return fn(x) + VERSION;
	}
C
cat >"$work/tree/plugin.cc" <<-'C'
	#include <stdexcept>
	extern "C" int plugin(int x)
	{
		try {
			if (x < 0)
				throw std::runtime_error("below zero");
			return x;
		} catch (const std::runtime_error &) {
			return -1;
		}
	}
C
cat >"$work/tree/prog.cc" <<-'C'
	#include <cstdio>
	#include <dlfcn.h>
	#include <stdexcept>

	#define VERSION 1

	extern "C" int plain(int (*fn)(int), int x);
	static int cleanups;
	struct guard {
		~guard() { cleanups++; }
	};

	static int throws(int x)
	{
		if (x < 0)
			throw std::runtime_error("below zero");
		return x;
	}

	__attribute__((noinline)) int cleans(int x)
	{
		guard g;

		return plain(throws, x) * 10 + VERSION;
	}

	int main()
	{
		char line[256];
		void *lib = nullptr;

		while (fgets(line, sizeof(line), stdin)) {
			int value = 0;

			switch (line[0]) {
			case 'v': value = cleans(4); break;
			case 't':
				try {
					value = cleans(-4);
				} catch (const std::runtime_error &) {
					value = -cleanups;
				}
				break;
			case 'o':
				lib = dlopen("./plugin.so", RTLD_NOW);
				value = lib ? ((int (*)(int))dlsym(lib, "plugin"))(-1) : 0;
				break;
			case 'x': value = dlclose(lib); break;
			}
			printf("%d\n", value);
			fflush(stdout);
		}
		return 0;
	}
C
cat >"$work/tree/Makefile" <<-'C'
	all: own shared plugin.so
	own: prog.o plain.o; $(CXX) -static-libgcc -static-libstdc++ -o $@ prog.o plain.o -ldl
	shared: prog.o plain.o; $(CXX) -o $@ prog.o plain.o -ldl
	plugin.so: plugin.cc; $(CXX) -O2 -fPIC -shared -static-libgcc -static-libstdc++ -Wl,--exclude-libs,ALL -o $@ plugin.cc
	prog.o: prog.cc; $(CXX) -O2 -g $(KLP_CFLAGS) -c prog.cc
	plain.o: plain.c; $(CC) -O2 -g $(KLP_CFLAGS) -c plain.c
C
make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" || die "the test's programs do not build"
cp "$work/tree"/plain.c "$work/tree"/prog.cc "$work/a/"
for f in plain.c prog.cc; do sed 's/VERSION 1/VERSION 2/' "$work/tree/$f" >"$work/b/$f"; done
(cd "$work" && diff -u a/plain.c b/plain.c) >"$work/plain.diff"
(cd "$work" && diff -u a/prog.cc b/prog.cc) >"$work/cxx.diff"
for n in plain cxx; do
	for t in own shared; do
		"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t "./$t" "$work/$n.diff" -o "$work/$n-$t.klp" >"$work/log" 2>&1 ||
			die "klp-build: $(tail -3 "$work/log")"
	done
done
refused() { # MODULE
	ctl 4 load -v --json -p "$(p)" "$work/$1.klp"
	expect_reason NO_UNWIND_INFO
	result .message | grep -q 'unwinder of its own\|could be told' || die "it does not say why: $(result .message)"
}
cd "$work/tree" || exit 1
target own ./own
refused cxx-own
refused plain-own
expect 51 v
expect -2 t
[ "$(status .runtime)" = false ] || die "a refused module left something in the process"
target shared ./shared
expect -1 o
refused cxx-shared
ctl 0 load -v --json -p "$(p)" "$work/plain-shared.klp"
expect 61 v
expect -2 t
ctl 0 unload -v --json -p "$(p)" plain-shared
expect 0 x
ctl 0 load -v --json -p "$(p)" "$work/cxx-shared.klp"
expect 52 v
expect -4 t
