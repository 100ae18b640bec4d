#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The program closes the library with its unwinder between klp's look at the slot and the store: at a load, and when the slot is given back.
# Nothing is stored where nothing is, the program goes on.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<-'C'
	#include <dlfcn.h>
	#include <stdio.h>

	#define VERSION 1

	__attribute__((noinline)) int value(int x)
	{
		return x * 10 + VERSION;
	}

	int main(void)
	{
		void *lib = NULL;
		char line[64];

		while (fgets(line, sizeof(line), stdin)) {
			int answer = value(4);

			if (line[0] == 'o')
				answer = (lib = dlopen("libgcc_s.so.1", RTLD_NOW)) != NULL;
			else if (line[0] == 'w')
				answer = !dlclose(lib);
			printf("%d\n", answer);
			fflush(stdout);
		}
		return 0;
	}
C
midway() { # shellcheck disable=SC2154 # lib.sh's
	"$build/bin/live_midway" "$1" "$(p)" "$2" "${wfd[t]}" "${rfd[t]}" >"$work/json" 2>"$work/events" || die "the $1 failed"
}
closed() { ! grep -q libgcc_s "/proc/$(p)/maps" || die "the library is still there"; }
target t "$work/tree/prog"
expect 1 o
midway load "$work/own.klp"
closed
expect 42 v
ctl 0 unload -v --json -p "$(p)" own
expect_result false .memory_left
expect 41 v
expect 1 o
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 42 v
midway unload own
closed
expect 41 v
expect_result false .memory_left
