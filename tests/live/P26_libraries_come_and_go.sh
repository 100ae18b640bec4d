#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A program that loads and unloads libraries as fast as it can is patched all the same: no load is refused for a library that was there a moment ago.
. "$(dirname "$0")/lib.sh"
begin
mkdir -p "$work/tree" "$work/a" "$work/b"
cat >"$work/tree/prog.c" <<'C'
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const char *const library[] = {"libBrokenLocale.so.1", "libthread_db.so.1", "libanl.so.1"};
static volatile unsigned turns;

__attribute__((noipa)) int prog_answer(int x)
{
	return x * 10 + 1;
}

static void *come_and_go(void *arg)
{
	void *handle[3];

	for (;; turns++) {
		for (int i = 0; i < 3; i++)
			handle[i] = dlopen(library[i], RTLD_LAZY);
		for (int i = 0; i < 3; i++)
			if (handle[i])
				dlclose(handle[i]);
	}
	return arg;
}

int main(void)
{
	char line[64];
	pthread_t t;

	if (pthread_create(&t, NULL, come_and_go, NULL))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		printf("%d\n", strncmp(line, "turns", 5) ? prog_answer(4) : (int)turns);
		fflush(stdout);
	}
}
C
printf 'all: prog\nprog: prog.c\n\t$(CC) -O2 -g $(KLP_CFLAGS) -o $@ prog.c -pthread\n' >"$work/tree/Makefile"
make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" || die "the test's program does not build"
cp "$work/tree/prog" "$work/"
cp "$work/tree/prog.c" "$work/a/"
sed 's/x \* 10 + 1/x * 10 + 2/' "$work/tree/prog.c" >"$work/b/prog.c"
(cd "$work" && diff -u a/prog.c b/prog.c) >"$work/fix.diff"
"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t ./prog "$work/fix.diff" -o "$work/fix.klp" >"$work/log" 2>&1 ||
	die "klp-build: $(tail -3 "$work/log")"
target t "$work/prog"
patience=$(patience) # the other thread runs all the time
rounds=30
[ "${KLP_FULL:-0}" != 1 ] || rounds=1000
for ((i = 0; i < rounds; i++)); do
	ctl 0 load --json -p "$(p)" $patience "$work/fix.klp"
	expect 42 x
	ctl 0 unload --json -p "$(p)" $patience fix
	expect 41 x
done
ask turns
[ "$REPLY" -gt "$rounds" ] || die "$REPLY turns only"
alive
