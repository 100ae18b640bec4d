# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# A program that opens and closes a plug-in when it is told to. Sourced after lib.sh.
#
# plugin_program: $work/prog and $work/plugin.so. The program answers "open", "close" with 0, "call" with what the plug-in's function says (1:
# VERSION, times 100 how often its code of that version has been called), -1 without it, and "note" with what callbacks have noted.
plugin_program() {
	mkdir -p "$work/tree" "$work/a" "$work/b"
	cat >"$work/tree/plugin.c" <<-'C'
	#include <stdio.h>
	#include <string.h>
	#include <klp/patch.h>
	#define VERSION 1
	extern char notes[4096];
	int plugin_answer(int x)
	{
		return x + VERSION;
	}
	C
	cat >"$work/tree/prog.c" <<-'C'
	#include <dlfcn.h>
	#include <stdio.h>
	#include <stdlib.h>
	#include <string.h>
	#include <unistd.h>

	char notes[4096];

	int main(int argc, char **argv)
	{
		char line[256], out[4200];
		void *handle = NULL;
		int (*answer)(int) = NULL;
		ssize_t n;

		while ((n = read(0, line, sizeof(line) - 1)) > 0) {
			int v = 0;

			line[n] = 0;
			if (!strncmp(line, "open", 4)) {
				handle = dlopen(argv[argc - 1], RTLD_NOW);
				answer = handle ? (int (*)(int))dlsym(handle, "plugin_answer") : NULL;
				v = !answer;
			} else if (!strncmp(line, "close", 5)) {
				answer = NULL;
				v = dlclose(handle);
			} else if (!strncmp(line, "call", 4)) {
				v = answer ? answer(0) : -1;
			} else if (!strncmp(line, "note", 4)) {
				n = snprintf(out, sizeof(out), "%s\n", notes);
				notes[0] = 0;
				if (write(1, out, (size_t)n) != n)
					abort();
				continue;
			}
			n = snprintf(out, sizeof(out), "%d\n", v);
			if (write(1, out, (size_t)n) != n)
				abort();
		}
		return 0;
	}
	C
	cat >"$work/tree/Makefile" <<-C
	all: plugin.so prog
	plugin.so: plugin.o; \$(CC) -shared -o \$@ plugin.o
	plugin.o: plugin.c; \$(CC) -O2 -g -fPIC -I$root/klp/include \$(KLP_CFLAGS) -c plugin.c
	prog: prog.c; \$(CC) -O2 -g \$(KLP_CFLAGS) -rdynamic -o \$@ prog.c
	C
	make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" || die "the test's program does not build"
	cp "$work/tree/plugin.so" "$work/tree/prog" "$work/"
}
# plugin_patch NAME SED: $work/NAME.klp of what sed makes of the plug-in's source.
plugin_patch() {
	cp "$work/tree/plugin.c" "$work/a/"
	sed "$2" "$work/tree/plugin.c" >"$work/b/plugin.c"
	(cd "$work" && diff -u a/plugin.c b/plugin.c) >"$work/$1.diff"
	"$klp_build" -s "$work/tree" -b "make plugin.so KLP_CFLAGS='$klp_cflags'" -t ./plugin.so "$work/$1.diff" -o "$work/$1.klp" >"$work/log" 2>&1 ||
		die "klp-build: $(tail -3 "$work/log")"
}
# watch_for PATCH [OPTION...]: klpctl watch in the background; its events, a line each, come to $work/watched.
watch_for() {
	local patch=$1
	shift
	"$klpctl" watch --json --interval 0.05 "$@" -p "$(p)" "$work/$patch.klp" >"$work/watched" 2>"$work/events" &
	watcher=$!
	others+=("$watcher")
}
# happened COUNT EVENT RESULT: that many such events, in the end.
happened() {
	local i n
	for ((i = 0; i < 200; i++)); do
		n=$(jq -s --arg e "$2" --arg r "$3" '[.[] | select(.event == $e and .result.result == $r)] | length' "$work/watched" 2>/dev/null)
		[ "$n" = "$1" ] && return
		sleep 0.05
	done
	die "events '$2' with the result '$3': $n, expected $1: $(cat "$work/watched")"
}
