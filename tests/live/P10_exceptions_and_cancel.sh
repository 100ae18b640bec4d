#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The process's own unwinder goes through module frames: C++ exceptions with cleanups and handlers in patched functions and through plain C ones,
# pthread_cancel of a thread that waits in a patched function, backtrace(). Before, during and after a transition, and the same when the patch is gone.
. "$(dirname "$0")/lib.sh"
begin
own_sources() {
	mkdir "$work/tree" "$work/a" "$work/b"
	cat >"$work/tree/plain.c" <<-'C'
	#include "both.h"
	#define VERSION 1
	/* Plain C: it knows nothing of exceptions, they pass. */
	int plain(int (*fn)(int), int x)
	{
		int y = fn(x);

		return y + VERSION;
	}
	C
	cat >"$work/tree/both.h" <<-'C'
	#ifdef __cplusplus
	extern "C"
	#endif
	int plain(int (*fn)(int), int x);
	C
	cat >"$work/tree/prog.cc" <<-'C'
	#include <cstdio>
	#include <cstdlib>
	#include <cstring>
	#include <execinfo.h>
	#include <pthread.h>
	#include <stdexcept>
	#include <unistd.h>
	#include "both.h"

	#define VERSION 1
	static int cleanups, wait_pipe[2], ready_pipe[2];
	struct guard {
		~guard() { cleanups++; }
	};

	int throws(int x)
	{
		if (x < 0)
			throw std::runtime_error("below zero");
		return x;
	}

	/* A cleanup of its own. */
	__attribute__((noinline)) int cleans(int x)
	{
		guard g;

		return plain(throws, x) * 10 + VERSION;
	}

	/* A handler of its own. */
	__attribute__((noinline)) int handles(int x)
	{
		try {
			return cleans(x) * 10 + VERSION;
		} catch (const std::runtime_error &e) {
			return -VERSION * (int)strlen(e.what());
		}
	}

	/* The frames of a call, up to main. */
	static int depth(int)
	{
		void *frame[64];

		return backtrace(frame, 64);
	}

	/* Waits in a call, inside a patched function. */
	__attribute__((noinline)) int waits(int version)
	{
		guard g;
		char c = (char)version;

		if (write(ready_pipe[1], &c, 1) != 1)
			abort();
		if (read(wait_pipe[0], &c, 1) != 1)
			abort();
		return VERSION + version;
	}

	static void *waiter(void *)
	{
		guard g;

		waits(0);
		return nullptr;
	}

	static pthread_t begins()
	{
		pthread_t t;
		char c;

		if (pthread_create(&t, nullptr, waiter, nullptr) || read(ready_pipe[0], &c, 1) != 1)
			abort();
		return t;
	}

	static int cancels(pthread_t t)
	{
		void *ret;
		int before = cleanups;

		usleep(2000);
		pthread_cancel(t);
		pthread_join(t, &ret);
		return ret == PTHREAD_CANCELED ? cleanups - before : -1;
	}

	/* Throws all the time; counts what it never may see. */
	static unsigned long thrown, wrong;

	static void *storm(void *)
	{
		for (;;) {
			int r = handles(-1), v = handles(1), d = plain(depth, 0);

			wrong += (r != -10 && r != -20) || v < 211 || v > 322 || d < 4;
			thrown++;
		}
		return nullptr;
	}

	int main(int argc, char **)
	{
		char line[64], out[64];
		pthread_t t, stayed = 0;

		if (pipe(wait_pipe) || pipe(ready_pipe))
			return 1;
		for (int i = 1; i < argc; i++)
			if (pthread_create(&t, nullptr, storm, nullptr))
				return 1;
		while (read(0, line, sizeof(line)) > 0) {
			int before = cleanups, value = 0, len;

			switch (line[0]) {
			case 'v': value = handles(1); break;
			case 't': value = handles(-1); break;
			case 'b': value = plain(depth, 0); break;
			case 'c': value = cancels(begins()); break;
			case 's': stayed = begins(); break;
			case 'x': value = cancels(stayed); break;
			case 'w': value = (int)wrong; before = cleanups; break;
			case 'n': value = (int)(thrown & 0xffffff); before = cleanups; break;
			}
			len = snprintf(out, sizeof(out), "%d %d\n", value, cleanups - before);
			if (write(1, out, (size_t)len) != len)
				abort();
		}
		return 0;
	}
	C
	cat >"$work/tree/Makefile" <<-'C'
	prog: prog.o plain.o; $(CXX) -o $@ prog.o plain.o -pthread
	prog.o: prog.cc both.h; $(CXX) -O2 -g $(KLP_CFLAGS) -c prog.cc
	plain.o: plain.c both.h; $(CC) -O2 -g $(KLP_CFLAGS) -c plain.c
	C
}
own_sources
make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" || die "the test's program does not build"
cp "$work/tree"/*.c "$work/tree"/*.cc "$work/a/"
for f in plain.c prog.cc; do sed 's/VERSION 1/VERSION 2/' "$work/tree/$f" >"$work/b/$f"; done
(cd "$work" && diff -u a/plain.c b/plain.c) >"$work/plain.diff"
(cd "$work" && diff -u a/prog.cc b/prog.cc) >"$work/cxx.diff"
for n in plain cxx; do
	"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t ./prog "$work/$n.diff" -o "$work/$n.klp" >"$work/log" 2>&1 ||
		die "klp-build: $(tail -3 "$work/log")"
done

# all VERSION-OF-PLAIN VERSION-OF-CXX: every way, and the number of cleanups that ran
all() {
	expect "$((((1 + $1) * 10 + $2) * 10 + $2)) 1" v
	expect "$((-10 * $2)) 1" t
	expect "$((frames + $1)) 0" b
	expect "2 2" c
}
target t "$work/tree/prog"
ask b
frames=$((${REPLY% *} - 1))
[ "$frames" -ge 4 ] || die "backtrace() sees $frames frames of the program itself"
all 1 1
for _ in 1 2; do
	ctl 0 load -v --json -p "$(p)" "$work/plain.klp"
	all 2 1
	ctl 0 load -v --json -p "$(p)" "$work/cxx.klp"
	all 2 2
	ctl 0 unload -v --json -p "$(p)" plain
	all 1 2
	ctl 0 unload -v --json -p "$(p)" cxx
	all 1 1
done
expect_result false .memory_left
# In the middle of a transition that waits for a thread in the version being left: there, in the other version, and through that thread's frames.
for what in load unload; do
	if [ $what = load ]; then old=1 new=2 operand=$work/cxx.klp; else old=2 new=1 operand=cxx; fi
	all 1 $old
	expect "0 0" s
	ctl 5 $what -v --json --timeout 1 -p "$(p)" "$operand"
	expect_result true '[.pending[].function | contains("waits")] == [true]'
	all 1 $new
	expect "2 2" x
	ctl 0 $what -v --json -p "$(p)" "$operand"
	all 1 $new
done
# The first exception of a process comes after the patch: its unwinder has resolved nothing yet.
target fresh "$work/tree/prog"
ctl 0 load -v --json -p "$(p)" "$work/cxx.klp"
ctl 0 load -v --json -p "$(p)" "$work/plain.klp"
all 2 2
# Threads that throw all the time, while patches come and go and tools are killed: nothing ends the process, nothing is wrong.
target storm "$work/tree/prog" 1 2 3
count() {
	ask "$1"
	echo "${REPLY% *}"
}
began=$(count n)
for ((i = 0; i < ${KLP_FULL:-0} * 94 + 6; i++)); do
	ctl 0 load -v --json -p "$(p)" "$work/cxx.klp"
	ctl 0 load -v --json -p "$(p)" "$work/plain.klp"
	"$klpctl" unload -p "$(p)" cxx >/dev/null 2>&1 &
	sleep "0.0$((RANDOM % 100))"
	kill -KILL $! 2>/dev/null
	wait $! 2>/dev/null
	ctl 0 unload -v --json -p "$(p)" cxx
	ctl 0 unload -v --json -p "$(p)" plain
	expect_status 0 '[.patches[] | select(.enabled)] | length'
done
[ "$(count w)" = 0 ] || die "$(count w) wrong results"
echo "$(($(count n) - began)) rounds of three threads"
[ "$(count n)" -gt "$began" ] || die "the threads threw nothing"
