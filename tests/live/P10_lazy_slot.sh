#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A thread is in the middle of resolving the unwinder's slot while a patch is loaded that the unwinder must know: an audit library of the
# dynamic linker holds it between the look-up and the store. Its store would overwrite klp's, so the load is refused until it is through.
. "$(dirname "$0")/lib.sh"
begin
mkdir "$work/tree" "$work/a" "$work/b"
cat >"$work/audit.c" <<-'C'
	#define _GNU_SOURCE
	#include <fcntl.h>
	#include <link.h>
	#include <stdint.h>
	#include <stdlib.h>
	#include <string.h>
	#include <unistd.h>

	unsigned la_version(unsigned version)
	{
		return version < LAV_CURRENT ? version : LAV_CURRENT;
	}

	unsigned la_objopen(struct link_map *map, Lmid_t ns, uintptr_t *cookie)
	{
		(void)map;
		(void)ns;
		(void)cookie;
		return LA_FLG_BINDTO | LA_FLG_BINDFROM;
	}

	/* Called by the resolver before it stores the address. */
	uintptr_t la_symbind64(Elf64_Sym *sym, unsigned index, uintptr_t *from, uintptr_t *to, unsigned *flags, const char *name)
	{
		(void)index;
		(void)from;
		(void)to;
		(void)flags;
		if (!strcmp(name, "_Unwind_Find_FDE")) {
			int fd = open(getenv("KLP_HELD"), O_CREAT | O_WRONLY, 0600);
			char c;

			close(fd);
			fd = open(getenv("KLP_GO"), O_RDONLY);
			while (read(fd, &c, 1) > 0)
				;
			close(fd);
		}
		return sym->st_value;
	}
C
${CC:-gcc} -O2 -fPIC -shared -o "$work/audit.so" "$work/audit.c" || die "the audit library does not build"
cat >"$work/tree/prog.cc" <<-'C'
	#include <cstdio>
	#include <cstdlib>
	#include <pthread.h>
	#include <stdexcept>
	#include <unistd.h>
	#include <unwind.h>

	#define VERSION 1

	static int cleanups;
	struct guard {
		~guard() { cleanups++; }
	};

	__attribute__((noinline)) static int throws(int x)
	{
		if (x < 0)
			throw std::runtime_error("below zero");
		return x;
	}

	/* It is patched; an exception passes through it. */
	__attribute__((noinline)) int passes(int x)
	{
		guard g;

		return throws(x) * 10 + VERSION;
	}

	/* The first use of the unwinder in the process, with nothing that is patched on the stack. During an exception klp believes no stack; */
	static void *first_exception(void *)
	{
		try {
			throws(-1);
		} catch (const std::runtime_error &) {
			cleanups += 100;
		}
		return nullptr;
	}

	/* during a look at the stack it does. */
	static _Unwind_Reason_Code frame(_Unwind_Context *, void *seen)
	{
		*static_cast<bool *>(seen) = true;
		return _URC_NO_REASON;
	}

	static void *first_backtrace(void *)
	{
		bool seen = false;

		_Unwind_Backtrace(frame, &seen);
		if (seen)
			cleanups += 100;
		return nullptr;
	}

	__attribute__((noinline)) static int asked(int x)
	{
		try {
			return passes(x) + 1 - 1;
		} catch (const std::runtime_error &) {
			return -1;
		}
	}

	int main()
	{
		pthread_t t;
		char line[64], out[64];

		while (read(0, line, sizeof(line)) > 0) {
			int value = 0, len;

			switch (line[0]) {
			case 'v': value = asked(4); break;
			case 't': value = asked(-4); break;
			case 'e':
			case 'b':
				if (pthread_create(&t, nullptr, line[0] == 'e' ? first_exception : first_backtrace, nullptr))
					abort();
				break;
			case 'j': pthread_join(t, nullptr); value = cleanups; break;
			}
			len = snprintf(out, sizeof(out), "%d\n", value);
			if (write(1, out, (size_t)len) != len)
				abort();
		}
		return 0;
	}
C
cat >"$work/tree/Makefile" <<-'C'
	prog: prog.o; $(CXX) -o $@ prog.o -pthread
	prog.o: prog.cc; $(CXX) -O2 -g $(KLP_CFLAGS) -c prog.cc
C
make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" || die "the test's program does not build"
cp "$work/tree/prog.cc" "$work/a/"
sed 's/VERSION 1/VERSION 2/' "$work/a/prog.cc" >"$work/b/prog.cc"
(cd "$work" && diff -u a/prog.cc b/prog.cc) >"$work/own.diff"
"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t ./prog "$work/own.diff" -o "$work/own.klp" >"$work/log" 2>&1 ||
	die "klp-build: $(tail -3 "$work/log")"

mkfifo "$work/go"
for first in e b; do
	rm -f "$work/held"
	target "$first" env LD_AUDIT="$work/audit.so" KLP_HELD="$work/held" KLP_GO="$work/go" "$work/tree/prog"
	expect 41 v
	ask "$first"
	wait_for 10 test -e "$work/held" || skip "this dynamic linker does not ask its audit library"
	ctl 0,4,5 load -v --json -p "$(p)" "$work/own.klp"
	refused=$(result .reason)
	exec 9>"$work/go"
	exec 9>&-
	expect 101 j
	[ "$refused" = null ] || [ "$(status '[.patches[] | select(.enabled)] | length')" = 0 ] || die "what was refused is in force: $(cat "$work/status")"
	[ "$refused" = null ] || ctl 0 load -v --json -p "$(p)" "$work/own.klp"
	expect 42 v
	expect -1 t
	expect_result null .reason
	[ "$refused" = BUSY ] || die "the load was not refused ($refused), though a thread was resolving the slot"
	ctl 0 unload -v --json -p "$(p)" own
	expect 41 v
	expect -1 t
	expect_result false .memory_left
done
