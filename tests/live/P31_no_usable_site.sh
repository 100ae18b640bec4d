#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Functions without a site or with a prefix that is too small: refused by klp-build by name, and at load; the neighbour is unharmed.
# A site at the first instruction, which a uprobe would bypass, is said to be one by the load.
. "$(dirname "$0")/lib.sh"
begin
mkdir "$work/tree"
cat >"$work/tree/prog.c" <<-'C'
#include <stdio.h>
__attribute__((noinline, patchable_function_entry(0, 0))) int without(int x) { return x + 1; }
__attribute__((noinline, patchable_function_entry(5, 2))) int small(int x) { return x + 11; }
__attribute__((noinline)) int good(int x) { return x + 21; }
__attribute__((noinline, patchable_function_entry(16, 14))) int first(int x) { return x + 31; }
int main(void)
{
	char line[64];
	while (fgets(line, sizeof(line), stdin)) {
		printf("%d %d %d %d\n", without(1), small(1), good(1), first(1));
		fflush(stdout);
	}
}
C
printf 'prog: prog.o\n\t$(CC) -o $@ prog.o\nprog.o: prog.c\n\t$(CC) -O2 -g $(KLP_CFLAGS) -c prog.c\n' >"$work/tree/Makefile"
make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" || die "it does not build"
make_diff() { # SED NAME
	mkdir -p "$work/a" "$work/b"
	cp "$work/tree/prog.c" "$work/a/"
	sed "$1" "$work/tree/prog.c" >"$work/b/prog.c"
	(cd "$work" && diff -u a/prog.c b/prog.c) >"$work/$2.diff"
}
make_diff 's/x + 1;/x + 2;/' without
make_diff 's/x + 11;/x + 12;/' small
make_diff 's/x + 21;/x + 22;/' good
make_diff 's/x + 31;/x + 32;/' first
for f in without small; do
	"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t ./prog "$work/$f.diff" -o "$work/$f.klp" >"$work/log" 2>&1
	rc=$?
	[ $rc = 4 ] || die "klp-build of $f: exit status $rc, expected 4: $(tail -3 "$work/log")"
	grep -q "refused: $f (prog.c): the function has no usable patch site: " "$work/log" || die "the refusal does not name $f: $(cat "$work/log")"
	[ -e "$work/$f.klp" ] && die "a refused patch left a module"
done
for f in good first; do
	"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t ./prog "$work/$f.diff" -o "$work/$f.klp" >"$work/log" 2>&1 ||
		die "klp-build of $f: $(tail -3 "$work/log")"
done
target t "$work/tree/prog"
expect '2 12 22 32' x
# At load: the same module, but its metadata points at the functions that have no site, whose code is theirs.
for f in without small; do
	read -r address size < <(nm -S "$work/tree/prog" | awk -v f=$f '$4 == f {print $1, $2}')
	address=$((0x$address)) size=$((0x$size))
	if [ $f = without ]; then recorded=0; else recorded=$((address - 2)); fi
	objcopy -O binary --only-section=.klp.meta --set-section-flags .klp.meta=alloc "$work/good.klp" "$work/meta"
	jq -c ".objects[0].functions[0] |= (del(.digest) | .address = $address | .size = $size | .recorded = $recorded | .ranges = [[$address, $address + $size]])" "$work/meta" >"$work/meta2"
	cp "$work/good.klp" "$work/bad.klp" && objcopy --update-section .klp.meta="$work/meta2" "$work/bad.klp" || die "cannot change metadata"
	before=$(fingerprint "$(p)")
	ctl 4 load -v --json -p "$(p)" "$work/bad.klp"
	expect_reason "$(if [ $f = without ]; then echo NO_SITE; else echo PREFIX_TOO_SMALL; fi)"
	[ "$(fingerprint "$(p)")" = "$before" ] || die "a refused load changed the target"
done
expect '2 12 22 32' x
ctl 0 load -v --json -p "$(p)" "$work/good.klp"
expect '2 12 23 32' x
grep -q uprobe "$work/events" && die "its site is not the first instruction: $(cat "$work/events")"
ctl 0 load --json -p "$(p)" "$work/first.klp"
expect '2 12 23 33' x
weak=$("$klpctl" sites --json -p "$(p)" | jq '.functions[] | select(.name == "first") | .weak_to_uprobe')
said=$(grep -c 'warning: first: .*a uprobe there would bypass the patch' "$work/events")
case "$weak $said" in 'true 1' | 'false 0') ;; *) die "a uprobe bypasses its site: $weak, and the load says so $said times" ;; esac
