#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What links make of riscv64's code, read back: every form that GNU ld's relaxation leaves, in programs at fixed addresses and position-independent
# ones, with compressed instructions and without, relaxed and not. Each bit of what the module replaces or relies on, changed in the running
# file, is refused.
# usage: relaxed_riscv64.sh TOOL FLIP COMPILER STEP     every STEPth bit is changed
set -u
tool=$1 flip=$2 cc=$3 step=$4
prefix=${cc%gcc}
top=$(mktemp -d) || exit 1
trap 'rm -rf "$top"' EXIT
failures=0 checks=0 moved=0
common="-g -w -ffunction-sections -fdata-sections -fno-section-anchors -fno-lto -fasynchronous-unwind-tables"

fail() {
	echo "FAIL: $name: $*"
	failures=$((failures + 1))
	[ -s out.json ] && jq -c '{refused,changed,new,data,notes}' out.json
	[ -s err ] && cat err
}

cat >"$top/m.c" <<'E2'
#include <stdio.h>
#include <stdlib.h>
#define APART __attribute__((noinline, noclone))
extern int outer;
extern __thread int far;
int shared = 4, many[600];
static int left = 3;
static double weight = 0.5;
__thread int depth = 2;
static const int table[12] = {1, 2, 3, 5, 8, 13, 21, 34};
int far_away(int);
static int APART local(int n) { left += n; many[n & 511] = left; return left; }
static int APART (*chosen(int n))(int) { return n > 4 ? local : far_away; }
int APART switched(int n)
{
	switch (n) {
	case 1: return rand();
	case 2: return outer + 8;
	case 3: return local(30);
	case 4: shared++; return depth + far;
	case 5: puts("five"); return local(5);
	case 6: return abs(n) * shared;
	}
	return 1;
}
static int APART goes(int n)
{
	static void *const labels[] = {&&one, &&two, &&three};
	goto *labels[many[n & 3] % 3];
one: return local(n) + 1;
two: return 12 * left;
three: return n - shared;
}
int APART touched(int n)
{
	int s = n;
	for (int i = 0; i < n; i++) {
		if (many[i] > 4)
			s += local(i);
		else
			s ^= switched(i);
		many[i + 1] = s;
		depth += i + goes(i);
	}
	weight *= 2.5;
	fprintf(stderr, "%d %f %d\n", table[s & 7], weight, chosen(s)(n) + 1);
	outer = s;
	return local(s);
}
int main(int argc, char **argv) { return touched(argc) + switched(argc); }
E2
cat >"$top/o.c" <<'E2'
int outer = 5;
__thread int far = 6;
int far_away(int n) { return n ^ outer; }
E2

# form NAME COMPILER-FLAGS LINKER-FLAGS PATTERN...: the linked functions have what each pattern says of the disassembly
form() {
	name=$1
	local xcc=$2 xld=$3 t f
	shift 3
	mkdir -p "$top/$name/a" "$top/$name/b" && cd "$top/$name" || exit 1
	cp ../[mo].c a/
	cp ../[mo].c b/
	sed -i 's/\* shared/* shared + 1/; s/(n) + 1)/(n) + 2)/' b/m.c
	for t in a b; do
		for f in m o; do
			# shellcheck disable=SC2086 # words
			$cc $common $xcc -c $t/$f.c -o $t/$f.o || { fail "does not compile"; return; }
		done
		# shellcheck disable=SC2086 # words
		$cc $xcc -Wl,--build-id $xld -Wl,-Map=$t/map -o $t/prog $t/m.o $t/o.o || { fail "does not link"; return; }
	done
	"${prefix}objdump" -d a/prog >code
	for f in "$@"; do
		checks=$((checks + 1))
		grep -qE "$f" code || fail "the link made nothing like $f"
	done
	checks=$((checks + 1))
	"$tool" a/prog b/prog a/prog - out.klp m.c=a/m.o=b/m.o o.c=a/o.o=b/o.o >out.json 2>err || { fail "no module"; return; }
	jq -e '[.changed[].symbol] | sort == ["switched","touched"]' out.json >/dev/null || fail "other functions changed"
	# the same program, laid out otherwise
	# shellcheck disable=SC2086 # words
	$cc $xcc -Wl,--build-id $xld -o moved a/o.o a/m.o
	"$tool" a/prog b/prog moved - out.klp m.c=a/m.o=b/m.o o.c=a/o.o=b/o.o >out.json 2>err
	case $? in
	0) moved=$((moved + 1)) ;;
	4) jq -e '[.refused[].reason] | all(test("bytes in the running file"))' out.json >/dev/null || fail "the moved program" ;;
	*) fail "the moved program" ;;
	esac
	resized
	flips
}

# The running file, which is another one for a bit, says that a function is longer or shorter.
resized() {
	local table at size by
	cp a/prog other
	table=$("${prefix}readelf" -SW a/prog | awk '{ for (i = 1; i < NF; i++) if ($i == "SYMTAB") print $(i + 2) }')
	at=$("${prefix}readelf" -sW a/prog | awk '/symtab/ { on = 1 } on && $8 == "local" { sub(":", "", $1); print $1 }')
	at=$((16#$table + 24 * at + 16))
	size=$(od -An -tu1 -j $at -N 1 a/prog)
	"${prefix}objcopy" --dump-section .text=text a/prog
	printf '\377' | dd of=text bs=1 seek=$(($(stat -c %s text) - 1)) conv=notrunc status=none
	for by in 2 4 -2 -4; do
		printf "\\x$(printf %02x $(((size + by) & 255)))" | dd of=other bs=1 seek=$at conv=notrunc status=none
		"${prefix}objcopy" --update-section .text=text other other.resized
		checks=$((checks + 1))
		"$tool" a/prog b/prog other.resized - out.klp m.c=a/m.o=b/m.o o.c=a/o.o=b/o.o >out.json 2>err
		[ $? = 4 ] && jq -e '[.refused[].reason] | any(test("^local has .* bytes in the running file"))' out.json >/dev/null ||
			fail "a symbol with another size"
	done
}

flips() {
	local ranges=() f
	for f in touched switched local chosen goes main; do # main calls what is replaced
		ranges+=("$("${prefix}nm" -S a/prog | awk -v f=$f '$4 == f { print $1 ":" $2 }')")
	done
	ranges+=("+$("${prefix}nm" -S a/prog | awk '$4 == "far_away" { print $1 ":" $2 }')")
	# what the switch jumps by
	ranges+=("$(awk '$1 == ".rodata.switched" { if (NF == 1) getline; print substr($(NF - 2), 3) ":" substr($(NF - 1), 3); exit }' a/map)")
	checks=$((checks + 1))
	"$flip" "$step" a/prog b/prog a/prog m.c=a/m.o=b/m.o o.c=a/o.o=b/o.o "${ranges[@]}" >flips 2>err || fail "$(cat flips)"
}

compressed=-fpatchable-function-entry=34,32
plain="-march=rv64g -mabi=lp64d -fpatchable-function-entry=8,6"
gp='\(gp\)|,gp,' tp='\(tp\)' jal='jal	[0-9a-f]+ <local>' cj='j	[0-9a-f]+ <local>'
for level in -O0 -O2 -Os; do
	form "pie$level" "$level $compressed" "" "$tp" "$jal"
	form "fixed$level" "$level $compressed -fno-pie" "-no-pie" "$tp" "$gp" "$jal"
	form "no-relax$level" "$level $compressed -mno-relax" "" 'jalr	'
done
form align "-O2 -falign-loops=16 -falign-functions=64 $compressed" "" "$tp"
form plain "-O2 $plain" "" "$tp" "$jal"
form plain-fixed "-O2 $plain -fno-pie" "-no-pie" "$tp" "$gp"
form low "-O2 $compressed -fno-pie -mcmodel=medlow" "-no-pie" "$gp" 'c.lui|lui	' "$cj"
form low-no-relax "-O2 $compressed -fno-pie -mcmodel=medlow -mno-relax" "-no-pie" 'lui	'
form low-plain "-O2 $plain -fno-pie -mcmodel=medlow -falign-loops=32" "-no-pie" "$gp"
form linker-no-relax "-O2 $compressed -falign-loops=16" "-Wl,--no-relax" 'jalr	'

[ $moved -gt 10 ] || fail "only $moved moved programs had the same sizes"
echo "$checks checks, $failures failures"
[ $failures = 0 ]
