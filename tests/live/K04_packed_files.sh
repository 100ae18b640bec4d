#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Libraries whose segments share pages of the file (lld, gold), so that the page with the header is mapped several times: one library is one
# object and is patched; the same library in two name spaces (dlmopen) is two, and refused.
. "$(dirname "$0")/lib.sh"
begin
mkdir "$work/a" "$work/b"
cat >"$work/program.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	int (*answer[2])(int) = {0};
	char line[64];

	for (int i = 0; i < 2 && i + 1 < argc; i++) {
		void *l = i ? dlmopen(LM_ID_NEWLM, argv[i + 1], RTLD_NOW) : dlopen(argv[i + 1], RTLD_NOW);

		if (!l || !(*(void **)&answer[i] = dlsym(l, "answer"))) {
			fprintf(stderr, "%s\n", dlerror());
			return 1;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin))
		printf("%d %d\n", answer[0](1), answer[1] ? answer[1](1) : 0);
	return 0;
}
C
gcc -O2 -o "$work/program" "$work/program.c" -ldl || die "the program does not build"

header_mappings() { grep -c ' 00000000 .*/lib\.so$' "/proc/$(p)/maps"; }

for linker in bfd lld gold; do
	command -v "ld.$linker" >/dev/null || die "ld.$linker is not installed"
	tree=$work/$linker
	mkdir "$tree"
	printf 'int answer(int x);\nint answer(int x)\n{\n\treturn x + 40;\n}\n' >"$tree/lib.c"
	printf 'lib.so: lib.o\n\t$(CC) -shared -fuse-ld=%s -o $@ lib.o\nlib.o: lib.c\n\t$(CC) -O2 -g -fPIC $(KLP_CFLAGS) -c lib.c\n' $linker >"$tree/Makefile"
	make -s -C "$tree" KLP_CFLAGS="$klp_cflags" || die "the library does not link with $linker"
	cp "$tree/lib.c" "$work/a/"
	sed 's/40/50/' "$tree/lib.c" >"$work/b/lib.c"
	(cd "$work" && diff -u a/lib.c b/lib.c) >"$work/$linker.diff"
	"$klp_build" -s "$tree" -b "make KLP_CFLAGS='$klp_cflags'" -t ./lib.so "$work/$linker.diff" -o "$work/$linker.klp" >"$work/log" 2>&1 ||
		die "klp-build ($linker): $(tail -3 "$work/log")"

	target "$linker-one" "$work/program" "$tree/lib.so"
	[ $linker = bfd ] || [ "$(header_mappings)" -gt 1 ] || die "$linker: the first page is mapped once, the test shows nothing"
	expect '41 0' x
	ctl 0 load -v --json -p "$(p)" "$work/$linker.klp"
	expect '51 0' x
	ctl 0 unload -v --json -p "$(p)" $linker
	expect '41 0' x

	target "$linker-two" "$work/program" "$tree/lib.so" "$tree/lib.so"
	expect '41 41' x
	before=$(fingerprint "$(p)")
	ctl 4 load -v --json -p "$(p)" "$work/$linker.klp"
	expect_reason AMBIGUOUS
	jq -r '.. | strings | select(test("maps"))' "$work/json" | grep -q ' 2 times' || die "$linker: not counted as two: $(cat "$work/json")"
	[ "$(fingerprint "$(p)")" = "$before" ] || die "$linker: the refused load changed the process"
	expect '41 41' x
done
