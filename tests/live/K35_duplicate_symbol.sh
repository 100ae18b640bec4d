#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Three static functions of one name, two of them in files of one name too: sympos says which is meant, and that one is patched, no other. What
# cannot be told apart is refused at build, and a module that means one function twice at load.
. "$(dirname "$0")/lib.sh"
begin
mkdir -p "$work/tree/one" "$work/tree/two" "$work/a/one" "$work/a/two" "$work/b/one" "$work/b/two"
unit() { # FUNCTION NUMBER-EXPRESSION
	cat <<-C
	static int __attribute__((noipa)) twin(int x)
	{
		return x * 10 + ($2);
	}

	int $1(int x)
	{
		return twin(x);
	}
	C
}
unit first 1 >"$work/tree/one/same.c"
unit second 'x > 9 ? x + 9 : 2' >"$work/tree/two/same.c"
unit third 3 >"$work/tree/other.c"
cat >"$work/tree/prog.c" <<'C'
#include <stdio.h>

int first(int x);
int second(int x);
int third(int x);

int main(void)
{
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		printf("%d %d %d\n", first(4), second(4), third(4));
		fflush(stdout);
	}
}
C
# Compiled in their folders, so that the symbol table knows both as same.c.
cat >"$work/tree/Makefile" <<'MAKE'
F = -O2 -g $(KLP_CFLAGS)
prog: prog.o one/same.o two/same.o other.o
	$(CC) -o $@ prog.o one/same.o two/same.o other.o
one/same.o: one/same.c
	cd one && $(CC) $(F) -c same.c
two/same.o: two/same.c
	cd two && $(CC) $(F) -c same.c
%.o: %.c
	$(CC) $(F) -c -o $@ $<
MAKE
# Two units that have all in common but a number.
cp -r "$work/tree" "$work/alike"
unit second 2 >"$work/alike/two/same.c"
make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" || die "the test's program does not build"
make -s -C "$work/alike" KLP_CFLAGS="$klp_cflags" || die "the second program does not build"
cp "$work/tree/prog" "$work/prog"
[ "$(readelf -sW "$work/prog" | awk '$4 == "FUNC" && $8 == "twin"' | wc -l)" = 3 ] || die "the program does not have three functions twin"
[ "$(readelf -sW "$work/prog" | awk '$4 == "FILE" && $8 == "same.c"' | wc -l)" = 2 ] || die "the program does not have two files same.c"
patch_of() { # STATUS TREE NAME FILE...: a module that changes twin in these
	local want=$1 tree=$2 name=$3 got f
	shift 3
	rm -rf "$work/a" "$work/b"
	for f; do
		mkdir -p "$work/a/$(dirname "$f")" "$work/b/$(dirname "$f")"
		cp "$work/$tree/$f" "$work/a/$f"
		sed 's/x \* 10/x * 100/' "$work/$tree/$f" >"$work/b/$f"
	done
	(cd "$work" && diff -ru a b) >"$work/$name.diff"
	"$klp_build" -s "$work/$tree" -b "make KLP_CFLAGS='$klp_cflags'" -t ./prog "$work/$name.diff" -o "$work/$name.klp" >"$work/log" 2>&1
	got=$?
	[ $got = "$want" ] || die "klp-build $name: exit status $got, expected $want: $(tail -3 "$work/log")"
}
at() { # 1|2|3: address of that twin, of its file, in the symbol table's order
	readelf -sW "$work/prog" | awk -v n="$1" '$4 == "FUNC" && $8 == "twin" && ++i == n { print $2 }'
}
own() { ctl 0 load -v --json -p "$(p)" "$work/$1.klp"; }
target t "$work/prog"
expect "41 42 43" x
bias=$((0x$(awk '$6 ~ /\/prog$/ { sub("-.*", "", $1); print $1; exit }' "/proc/$(p)/maps")))
patch_of 0 tree one one/same.c
patch_of 0 tree two two/same.c
patch_of 0 tree three other.c
own two
expect "41 402 43" x
expect_status "twin 2" '.patches[0].functions[0] | .name + " " + (.sympos | tostring)'
expect_status $((bias + 0x$(at 2))) '.patches[0].functions[0].old_address'
own one
expect "401 402 43" x
expect_status "twin 1" '.patches[] | select(.name == "one") | .functions[0] | .name + " " + (.sympos | tostring)'
own three
expect "401 402 403" x
expect_status "twin 0" '.patches[] | select(.name == "three") | .functions[0] | .name + " " + (.sympos | tostring)'
unload two
expect "401 42 403" x
unload one
unload three
expect "41 42 43" x
# Both in one patch.
patch_of 0 tree both one/same.c two/same.c
own both
expect "401 402 43" x
expect_status "1 2" '[.patches[] | select(.name == "both") | .functions[].sympos] | sort | map(tostring) | join(" ")'
unload both
expect "41 42 43" x
# Which of the two is meant nobody could say, but for the third there is no doubt.
for f in one two; do
	patch_of 4 alike ambiguous $f/same.c
	grep -q "twin ($f/same.c).*cannot be told which is which" "$work/log" || die "it does not say why: $(cat "$work/log")"
	[ ! -e "$work/ambiguous.klp" ] || die "a refused patch left a module"
done
patch_of 0 alike clear other.c
target alike "$work/alike/prog"
expect "41 42 43" x
own clear
expect "41 42 403" x
use t
# The metadata names one of them twice: refused, nothing changes.
objcopy -O binary --only-section=.klp.meta --set-section-flags .klp.meta=alloc "$work/both.klp" "$work/meta" || die "no metadata"
forged() { # JQ-PROGRAM: the module with other metadata is refused
	jq -c "$1" <"$work/meta.json" >"$work/meta.new" || die "jq"
	cmp -s "$work/meta.json" "$work/meta.new" && die "nothing was forged"
	objcopy --update-section .klp.meta="$work/meta.new" "$work/both.klp" "$work/forged.klp" || die "objcopy"
	local before
	before=$(text_print "$(p)")
	ctl 4 load --json -p "$(p)" "$work/forged.klp"
	[ "$(jq -r '.reason // .processes[0].reason' "$work/json")" = BAD_MODULE ] || die "$1: $(cat "$work/json")"
	jq -r '.error // .processes[0].message' "$work/json" | grep -q "twin and twin of prog are the same" || die "$1: it does not say which"
	[ "$(text_print "$(p)")" = "$before" ] || die "a refused load changed the target"
	expect "41 42 43" x
}
tr -d '\0' <"$work/meta" | jq -c . >"$work/meta.json" || die "the metadata is not JSON"
cp "$work/meta.json" "$work/meta.new"
objcopy --update-section .klp.meta="$work/meta.new" "$work/both.klp" "$work/same.klp"
ctl 0 load --json -p "$(p)" "$work/same.klp" # rewritten as it was, it is accepted
expect "401 402 43" x
unload both
forged '.objects[0].functions[1].sympos = .objects[0].functions[0].sympos'
forged '.objects[0].functions[].sympos = 0'
forged '.objects[0].functions |= [.[0], .[1] + (.[0] | {address, recorded, size, ranges})]'
