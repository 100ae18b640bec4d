#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Small programs, each built twice with klp's default flags, and what the object half of klp-build makes of the difference.
# usage: objdiff_test.sh TOOL COMPILER     the compiler may be one for another architecture, and have flags of its own
set -u
tool=$1 cc=$2
case $($cc -dumpmachine) in
x86_64-*)
	string_align=1 prefix='' entry=19,16 entry_clang=16,14 entry_bytes=16 clang=clang version=GLIBC_2.2.5
	direct_cc='' direct_ld='' indirect_cc=-mno-direct-extern-access indirect_ld=''
	;;
aarch64-*)
	string_align=8 prefix=aarch64-linux-gnu- entry=6,4 entry_clang=6,4 entry_bytes=16 version=GLIBC_2.17
	clang="clang --target=aarch64-linux-gnu -mno-global-merge"
	# a position-independent program reaches other objects' data through slots
	direct_cc=-fno-pie direct_ld=-no-pie indirect_cc=-fPIE indirect_ld=-no-pie
	;;
riscv64-*)
	# without compressed instructions a NOP is as long as two others
	case $cc in
	*-march=rv64g\ * | *-march=rv64g) entry=8,6 entry_bytes=24 ;;
	*) entry=34,32 entry_bytes=64 ;;
	esac
	string_align=8 prefix=riscv64-linux-gnu- entry_clang=$entry version=GLIBC_2.27
	clang="clang --target=riscv64-linux-gnu${cc#*gcc} -msmall-data-limit=0"
	direct_cc=-fno-pie direct_ld=-no-pie indirect_cc=-fPIE indirect_ld=-no-pie
	;;
*) exit 2 ;;
esac
strip() { command "${prefix}strip" "$@"; }
objcopy() { command "${prefix}objcopy" "$@"; }
flags="-O2 -g -fpatchable-function-entry=$entry -ffunction-sections -fdata-sections -fno-section-anchors
	-fno-ipa-stack-alignment -fno-lto"
top=$(mktemp -d) || exit 1
trap 'rm -rf "$top"' EXIT
failures=0 checks=0

fail() {
	echo "FAIL: $name: $*"
	failures=$((failures + 1))
	[ -s out.json ] && jq -c '{refused,changed,new,data,notes}' out.json
	[ -s err ] && cat err
}

# begin NAME [EXTRA COMPILER FLAGS [EXTRA LINKER FLAGS]]: a fresh directory; sources go to a/ and, changed, to b/
begin() {
	name=$1 xcc=${2:-} xld=${3:-}
	mkdir -p "$top/$name/a" "$top/$name/b" && cd "$top/$name" || exit 1
}

# change FILE SED-EXPRESSION...: everything else is copied as it is
change() {
	local f=$1 e
	cp -n a/* b/
	shift
	for e in "$@"; do sed -i "$e" "b/$f"; done
	cmp -s "a/$f" "b/$f" && fail "the change of $f changes nothing"
	return 0
}

objects() {
	local t f
	cp -n a/* b/
	for t in a b; do
		for f in "$t"/*.c "$t"/*.S; do
			[ -e "$f" ] || continue
			(cd $t && $cc $flags $xcc -c "${f#*/}" -o "${f#*/}.o") || { fail "does not compile"; return 1; }
		done
	done
}

build() {
	local t
	objects || return 1
	for t in a b; do
		$cc $flags $xcc -Wl,--build-id $xld -o $t/prog $t/*.o || { fail "does not link"; return 1; }
	done
	strip -o running a/prog
}

# run EXPECTED [RUNNING [DEBUG]]
run() {
	local want=$1 running=${2:-running} debug=${3:--} f units=() rc
	for f in a/*.o; do
		[ -e "b/${f#a/}" ] && units+=("$(basename "$f" .o)=$f=b/${f#a/}") || units+=("$(basename "$f" .o)=$f=-")
	done
	for f in b/*.o; do [ -e "a/${f#b/}" ] || units+=("$(basename "$f" .o)=-=$f"); done
	rm -f out.klp
	"$tool" a/prog b/prog "$running" "$debug" out.klp "${units[@]}" >out.json 2>err
	rc=$?
	checks=$((checks + 1))
	[ $rc = "$want" ] || fail "result $rc instead of $want"
	if [ "$want" = 0 ] && [ $rc = 0 ]; then check_module; else [ -e out.klp ] && fail "a module although none is to be built"; fi
	return 0
}

# What holds for every module: undefined names are klp:..., the metadata in the file is the report's, the bytes repeat.
check_module() {
	local n
	[ -s out.klp ] || { fail "no module"; return; }
	readelf -W --syms out.klp >syms 2>readelf.err || fail "readelf"
	[ -s readelf.err ] && fail "readelf: $(cat readelf.err)"
	awk '$7 == "UND" && $1 != "0:" && $8 !~ /^klp:[0-9]+:/' syms | grep -q . && fail "undefined symbol: $(grep UND syms)"
	objcopy -O binary --only-section=.klp.meta --set-section-flags .klp.meta=alloc out.klp meta.json
	[ "$(jq -S . meta.json)" = "$(jq -S .metadata out.json)" ] || fail "metadata of the file and of the report differ"
	for n in $(jq -r '.metadata.objects[].functions[].replacement' out.json); do
		[ "$(awk -v n="$n" '$4 == "FUNC" && $8 == n' syms | wc -l)" = 1 ] || fail "replacement $n is not one function"
	done
	readelf --debug-dump=frames out.klp >frames 2>frames.err || fail "frames"
	[ -s frames.err ] && fail "frames: $(cat frames.err)"
	readelf -SW out.klp | grep -q __patchable && fail "module functions need no sites"
	cp out.klp first.klp
	cp out.json first.json
}

# expect JQ-FILTER: true of the report
expect() {
	checks=$((checks + 1))
	jq -e "$1" out.json >/dev/null || fail "not so: $1"
}
changed() { expect "[.changed[].symbol] | sort == $1"; }
refused() { expect "[.refused[].symbol] | index(\"$1\") != null"; }

begin B01_string
cat >a/m.c <<'E'
#include <stdio.h>
void __attribute__((noinline)) say(int n) { printf("old text %d\n", n); puts("kept"); }
int main(int argc, char **argv) { (void)argv; say(argc); return 0; }
E
change m.c 's/old text/new text/'
build && run 0 && changed '["say"]'
expect '.metadata.escapes | length == 1 and (.[0] | test("new text"))'
expect '[.metadata.symbols[] | select(.name == ".rodata.str")] | length == 1'
expect '.metadata.symbols[] | select(.name == "printf") | .how == "dynamic" and .got > 0 and .plt > 0 and .version == "'$version'"'
expect '.metadata.coupled == false and .metadata.exceptions == false'
addr=$(nm a/prog | awk '$3 == "say" {print $1}')
expect ".metadata.objects[0].functions[0] | .address == $((16#$addr)) and .recorded == $((16#$addr - entry_bytes)) and .ranges[0][0] == .address"
expect ".metadata.objects[0].build_id == \"$(readelf -n running | awk '/Build ID/ {print $3}')\""
run 0
cmp -s out.klp first.klp || fail "two runs give different bytes"

begin B02_new_data
cat >a/m.c <<'E'
static int old_count = 3;
int __attribute__((noinline)) f(int n) { old_count += n; return old_count; }
int main(int argc, char **argv) { (void)argv; return f(argc); }
E
change m.c 's/^static int old_count = 3;/&\nstatic int limit = 7; static int seen;/' 's/return old_count;/if (old_count > limit) seen++; limit += seen; return old_count;/'
build && run 0 && changed '["f"]'
expect '[.data[] | select(.action == "new") | .symbol] | sort == ["limit","seen"]'
expect '[.metadata.symbols[].name] == ["old_count"]'

begin B03_B04_new_function_and_global
cat >a/m.c <<'E'
int g(int);
int __attribute__((noinline)) f(int n) { return n + 1; }
int main(int argc, char **argv) { (void)argv; return f(argc) + g(argc); }
E
echo 'int g(int n) { return n * 2; }' >a/g.c
change m.c 's/^int g/extern int shared; int __attribute__((noinline)) helper(int n) { return n * shared; }\n&/' 's/n + 1/helper(n) + 1/'
change g.c 's/^/int shared = 5;/' 's/n \* 2/n * shared/'
build && run 0 && changed '["f","g"]'
expect '[.new[].symbol] == ["helper"] and .metadata.coupled'
expect '[.data[].symbol] == ["shared"]'

begin B05_B06_statics
cat >a/m.c <<'E'
static int __attribute__((noinline)) inner(int n) { static int calls = 1; static int spare; calls += n; spare ^= n; return calls + spare; }
static int __attribute__((noinline)) second(int n) { static int calls = 5; calls ^= n; return calls; }
int main(int argc, char **argv) { (void)argv; return inner(argc) + second(argc); }
E
change m.c 's/calls += n;/calls += n + 2;/' 's/^static int __attribute__((noinline)) second/static int unused_before(int x) { static int calls = 9; return calls += x; }\n&/' 's/calls ^= n;/calls ^= unused_before(n);/'
build && run 0 && changed '["inner","second"]'
expect '[.metadata.symbols[].name | sub("\\.[0-9]+$"; "")] | sort == ["calls","calls","spare"]'
expect '[.data[].symbol] | length == 1'
expect '[.metadata.objects[].functions[].file] | unique == ["m.c"]'

begin B06_ambiguous_static
cat >a/m.c <<'E'
int __attribute__((noinline)) f(int n) { if (n) { static int hits; return hits += n; } return 0; }
int main(int argc, char **argv) { (void)argv; return f(argc); }
E
change m.c 's/if (n) {/{ static int hits; hits ^= n; if (hits > 9) return hits; } &/'
build && run 4 && expect '[.refused[].reason] | any(test("static variables of this name"))'

begin B07_same_names
for f in x y; do
	cat >a/$f.c <<E
static int state = 1;
static int __attribute__((noinline)) work(int n) { state += n; return state; }
int run_$f(int n) { return work(n) + 1; }
E
done
cat >a/m.c <<'E'
int run_x(int), run_y(int);
int main(int argc, char **argv) { (void)argv; return run_x(argc) + run_y(argc); }
E
change x.c 's/state += n/state += n + 1/'
change y.c 's/state += n/state += n * 2/'
build && run 0 && changed '["work","work"]'
expect '[.metadata.objects[0].functions[] | .file] | sort == ["x.c","y.c"]'
expect '[.metadata.objects[0].functions[] | .address] | unique | length == 2'
expect '[.metadata.symbols[] | select(.name == "state") | .address] | unique | length == 2'

begin B08_lines
cat >a/m.c <<'E'
int __attribute__((noinline)) f(int n) { return n + 1; }
int main(int argc, char **argv) { (void)argv; return f(argc); }
E
change m.c '1s/^/\n\n\n/'
build && run 3

begin B09_tables
cat >a/m.c <<'E'
#include <stdlib.h>
int __attribute__((noinline)) table(int n) { switch (n) { case 1: return 11; case 2: return 45; case 3: return 97; case 4: return 12; case 5: return 1000; case 6: return 5; } return 0; }
int __attribute__((noinline)) jumps(int n) { switch (n) { case 1: return rand(); case 2: return abs(n) + 8; case 3: return atoi("3"); case 4: abort(); case 5: return rand() * 3; case 6: exit(3); } return 1; }
int main(int argc, char **argv) { (void)argv; return table(argc) + jumps(argc); }
E
change m.c 's/return 97/return 98/'
build && run 0 && changed '["table"]'
begin B09_jump_table
cp "$top/B09_tables/a/m.c" a/
change m.c 's/case 5: return rand() \* 3;/case 5: exit(3);/' 's/case 6: exit(3);/case 6: return rand() * 3;/'
build && run 0 && changed '["jumps"]'
expect '.metadata.escapes == []'

begin B10_constant
cat >a/m.c <<'E'
double __attribute__((noinline)) f(double n) { return n * 2.5; }
int main(int argc, char **argv) { (void)argv; return (int)f(argc); }
E
change m.c 's/2\.5/2.75/'
build && run 0 && changed '["f"]'
expect '.metadata.escapes == []'

begin B11_const_table
cat >a/m.c <<'E'
#include <stdio.h>
static const char *const names[] = { "zero", "one", "two" };
void __attribute__((noinline)) show(unsigned n) { puts(names[n % 3]); }
int main(int argc, char **argv) { (void)argv; show((unsigned)argc); return 0; }
E
change m.c 's/"one"/"uno"/'
build && run 0 && changed '["show"]'
expect '[.data[] | select(.action == "cloned") | .symbol] == ["names"]'

begin B37_ops
cat >a/m.c <<'E'
struct ops { int (*rd)(int); int size; };
static int rd1(int x) { return x; }
static const struct ops o = { rd1, 64 };
struct conn { const struct ops *ops; int n; } dflt = { &o, 0 };
int __attribute__((noinline)) use(struct conn *c) { return c->ops->rd(c->ops->size); }
int main(int argc, char **argv) { (void)argv; return argc > 3 ? 0 : use(&dflt); }
E
change m.c 's/64/32/'
build && run 4 && refused o
begin B37_stored
cat >a/m.c <<'E'
struct ops { int a, size; };
static const struct ops o = { 1, 64 };
const struct ops *current;
int __attribute__((noinline)) set(void) { current = &o; return 1; }
int main(int argc, char **argv) { (void)argv; return set() + current[argc].size; }
E
change m.c 's/64/32/'
build && run 4 && refused o

# A register that calls do not keep goes into the function's other part all the same.
if [ "$prefix" = aarch64-linux-gnu- ]; then
	begin B37_into_the_cold_part
	cat >a/set.S <<'E'
	.text
	.globl set
	.type set, %function
set:	.cfi_startproc
	adrp x9, o
	add x9, x9, :lo12:o
	ldr w0, [x9]
	cbz w0, 1f
	b set.cold
1:	ret
	.cfi_endproc
	.size set, . - set
	.section .text.unlikely, "ax", %progbits
	.type set.cold, %function
set.cold:
	.cfi_startproc
	adrp x10, current
	str x9, [x10, :lo12:current]
	ret
	.cfi_endproc
	.size set.cold, . - set.cold
	.section .rodata.o, "a", %progbits
	.balign 8
	.globl o
	.type o, %object
o:	.word 1, 64
	.size o, 8
	.bss
	.balign 8
	.globl current
	.type current, %object
current: .zero 8
	.size current, 8
	.section .note.GNU-stack, "", %progbits
E
	cat >a/m.c <<'E'
struct ops { int a, size; };
extern const struct ops *current;
int set(void);
int main(int argc, char **argv) { (void)argv; return set() + current[argc].size; }
E
	change set.S 's/1, 64/1, 32/'
	build && run 4 && refused o
fi

begin B14_cold_and_clones -freorder-blocks-and-partition
cat >a/m.c <<'E'
#include <stdio.h>
#include <stdlib.h>
void __attribute__((cold)) report(int n);
void __attribute__((noinline)) report(int n) { printf("%d\n", n); }
static int __attribute__((noinline)) clone(int n, int k) { return n * k + rand(); }
int __attribute__((noinline)) f(int n) { if (n > 100) { report(n); report(n + 1); abort(); } return clone(n, 3); }
int main(int argc, char **argv) { (void)argv; return f(argc) + clone(argc + 1, 3); }
E
change m.c 's/report(n + 1)/report(n + 2)/' 's/n \* k + rand/n * k - rand/'
build && run 0
expect '[.changed[].symbol] | any(startswith("clone")) and any(. == "f")'
expect '.metadata.coupled'
expect '[.metadata.objects[0].functions[] | select(.name == "f") | .ranges | length] == [2]'

begin B14_a_clone_alone
cat >a/m.c <<'E'
#include <stdlib.h>
static int __attribute__((noinline)) clone(int n, int k) { return n * k + rand(); }
int main(int argc, char **argv) { (void)argv; return clone(argc, 3) + clone(argc + 1, 3); }
E
change m.c 's/n \* k + rand/n * k - rand/'
build && run 0
expect '[.changed[].symbol] == ["clone.constprop.0"] and .metadata.coupled'

begin B15_B38_function_pointer
cat >a/m.c <<'E'
typedef int (*fn)(int);
struct hooks { fn call; } h;
int __attribute__((noinline)) old_hook(int n) { return n + 1; }
int __attribute__((noinline)) set(int n) { int had = h.call == old_hook; h.call = old_hook; return had ? n : 0; }
int main(int argc, char **argv) { (void)argv; return set(argc) + h.call(argc); }
E
change m.c 's/return n + 1/return n + 2/' 's/? n : 0/? n : 9/'
build && run 0 && changed '["old_hook","set"]'
expect '[.metadata.symbols[] | select(.name == "old_hook") | .how] == ["address"]'
expect '.metadata.escapes == []'
begin B15_new_function_escapes
cp "$top/B15_B38_function_pointer/a/m.c" a/
change m.c 's/^struct hooks/int added(int n) { return n ^ 3; }\n&/' 's/h.call = old_hook; /h.call = added; /'
build && run 0 && expect '.metadata.escapes == ["added"]'

begin B16_tls
cat >a/m.c <<'E'
__thread int depth = 2;
static __thread int mine;
int __attribute__((noinline)) f(int n) { depth += n; mine ^= depth; return mine; }
int main(int argc, char **argv) { (void)argv; return f(argc); }
E
change m.c 's/depth += n/depth += n * 3/'
build && run 0
expect '[.metadata.symbols[] | select(.how == "tls") | .name] | sort == ["depth","mine"]'
begin B16_new_tls
cp "$top/B16_tls/a/m.c" a/
change m.c 's/^static __thread int mine;/& static __thread int more;/' 's/return mine/return mine + more++/'
build && run 4 && refused more

begin B19_recursive
cat >a/m.c <<'E'
static int __attribute__((noinline)) deep(int n) { return n < 2 ? n : deep(n - 1) * deep(n - 2) + 1; }
int main(int argc, char **argv) { (void)argv; return deep(argc); }
E
change m.c 's/+ 1;/+ 2;/'
build && run 0 && changed '["deep"]'

begin B20_initialised_data
cat >a/m.c <<'E'
int limit = 10;
int main(int argc, char **argv) { (void)argv; return argc + limit++; }
E
change m.c 's/10/20/'
build && run 4 && refused limit

begin B22_assembly
cat >a/s.S <<'E'
	.section .text.asm_add,"ax",%progbits
	.globl asm_add
	.type asm_add, %function
#ifdef __aarch64__
asm_add: add w0, w0, 1
#elif defined(__riscv)
asm_add: addi a0, a0, 1
#else
asm_add: lea 1(%rdi), %eax
#endif
	ret
	.size asm_add, .-asm_add
	.section .note.GNU-stack,"",%progbits
E
echo 'int asm_add(int); int main(int argc, char **argv) { (void)argv; return asm_add(argc); }' >a/m.c
change s.S 's/lea 1/lea 2/' 's/\([wa]\)0, 1/\10, 2/'
build && run 4 && refused asm_add

begin B23_constructor
cat >a/m.c <<'E'
int ready;
static void __attribute__((constructor)) start(void) { ready = 1; }
int main(int argc, char **argv) { (void)argv; return argc + ready; }
E
change m.c 's/ready = 1/ready = 2/'
build && run 4 && refused start
begin B23_new_constructor
cp "$top/B23_constructor/a/m.c" a/
change m.c 's/^int main/static void __attribute__((constructor)) more(void) { ready++; }\n&/'
build && run 4 && expect '[.refused[].section] | any(startswith(".init_array"))'

begin B25_removed
cat >a/m.c <<'E'
static int __attribute__((noinline)) gone(int n) { static int kept; return n + kept++; }
int __attribute__((noinline)) f(int n) { return gone(n) + 1; }
int main(int argc, char **argv) { (void)argv; return f(argc); }
E
change m.c '/gone(int n)/d' 's/gone(n)/n * 2/'
build && run 0 && changed '["f"]'
expect '[.removed[].symbol] == ["gone"] and (.notes | length) >= 1'

begin B33_other_compiler_output
cp "$top/B01_string/a/m.c" a/
change m.c 's/old text/new text/'
build
sed 's/kept/KEPT and more/' a/m.c >other.c
$cc ${flags/-O2/-O1} -Wl,--build-id -o other other.c
run 4 other && expect '[.refused[].reason] | any(test("differs|no such|site|bytes in the running"))'
cp running damaged
off=$((16#$addr))
printf '\xcc' | dd of=damaged bs=1 seek=$((off + 20)) conv=notrunc status=none
run 4 damaged && expect '[.refused[].reason] | any(test("differs .* in say at offset 20"))'

begin S8_what_runs
cat >a/m.c <<'E'
int g(int n), h(int n);
int __attribute__((noinline)) f(int n) { return g(n) + 7; }
int __attribute__((noinline)) caller(int n) { return f(n) * 5 - n; }
int main(int argc, char **argv) { (void)argv; return caller(argc) + h(argc); }
E
echo 'int g(int n) { return n * 2; } int h(int n) { return n * 3; }' >a/x.c
change m.c 's/return g(n) + 7/return g(n) + 8/'
build
# what_runs SED-EXPRESSION: with another layout, and f as it makes it
what_runs() {
	sed "$1" a/m.c >m.c
	$cc $flags -c m.c -o m.o && $cc $flags -Wl,--build-id -o other a/x.c.o m.o || fail "does not build"
}
what_runs ''
run 0 other && changed '["f"]'
name="S8_another_instruction"
what_runs 's/+ 7/+ 9/'
run 4 other && refused f
name="S8_another_operand"
what_runs 's/return g(n)/return h(n)/'
run 4 other && refused f
# who calls it may rely on what the compiler knew of it
name="S8_another_caller"
what_runs 's/ - n/ + n/'
run 4 other && refused caller

begin B34_B48_other_layout
cp "$top/B07_same_names/a/"*.c a/
change x.c 's/state += n/state += n + 1/'
build
$cc $flags -Wl,--build-id -o other a/y.c.o a/m.c.o a/x.c.o
objcopy --only-keep-debug other other.debug
strip other
run 4 other && expect '[.refused[].advice] | any(test("--debug"))'
# x and y differ in nothing but their place, and the program is laid out alike: only the debug file tells them apart
run 0 other other.debug
expect "[.metadata.objects[0].functions[0] | .address] == [$((16#$(nm other.debug | awk '$3 == "work" {a[++n] = $1} END {print a[2]}')))]"
if [ "$prefix" = aarch64-linux-gnu- ]; then
	# only the page's bits are the link's: another register in the same instruction is another program
	at=$(jq '.metadata.objects[0].functions[0].address' out.json)
	for ((i = at; i < at + 64; i += 4)); do
		[ $(($(od -An -tu1 -j $((i + 3)) -N 1 other) & 0x9f)) = $((0x90)) ] && break
	done
	cp other other.adrp
	printf "\\x$(printf %02x $(($(od -An -tu1 -j $i -N 1 other) ^ 1)))" | dd of=other.adrp bs=1 seek=$i conv=notrunc status=none
	run 4 other.adrp other.debug && expect '[.refused[].reason] | any(test("differs .* in work at offset"))'
fi
objcopy --only-keep-debug a/prog wrong.debug
run 4 other wrong.debug && expect '[.refused[].reason] | any(test("build-id"))'

begin B38_own_address
cat >a/m.c <<'E'
int (*volatile kept)(int);
static int __attribute__((noinline)) self(int n) { kept = self; return n + 1; }
int main(int argc, char **argv) { (void)argv; return self(argc) + (kept == self); }
E
change m.c 's/n + 1/n + 2/'
build && run 0 && changed '["self"]'
expect '[.metadata.symbols[] | select(.name == "self") | .how] == ["address"] and .metadata.escapes == []'

begin B18_alias
cat >a/m.c <<'E'
int real(int n) { return n + 1; }
int other_name(int n) __attribute__((alias("real")));
int weak_name(int n) __attribute__((weak, alias("real")));
int __attribute__((noinline)) user(int n) { return other_name(n) + weak_name(n); }
int main(int argc, char **argv) { (void)argv; return user(argc); }
E
change m.c 's/n + 1/n + 2/' 's/+ weak_name(n)/- weak_name(n)/'
build && run 0 && changed '["real","user"]'

begin B16_tls_shared "-fPIC" "-shared"
cp "$top/B16_tls/a/m.c" a/
sed -i '/main/d' a/m.c
change m.c 's/depth += n/depth += n * 3/'
build && run 0
expect '[.metadata.symbols[] | select(.how == "tls") | .name] | sort == ["depth","mine"]'

for level in -O0 -Og -O1 -O3 -Os; do
	begin "B29$level" $level
	cp "$top/B09_tables/a/m.c" a/
	change m.c 's/return 97/return 98/' 's/rand() \* 3/rand() * 5/' 's/atoi("3")/atoi("4444")/'
	build && run 0 && changed '["jumps","table"]'
done

if command -v clang >/dev/null; then
	cc_before=$cc flags_before=$flags
	cc=$clang flags="-O2 -g -fpatchable-function-entry=$entry_clang -ffunction-sections -fdata-sections -fno-lto"
	begin B28_clang
	cp "$top/B09_tables/a/m.c" a/
	change m.c 's/return 97/return 98/' 's/rand() \* 3/rand() * 5/' 's/atoi("3")/atoi("4444")/'
	build && run 0 && changed '["jumps","table"]'
	# no table of a switch; on riscv64 its address is still in a1, which may be a result
	[ "$prefix" = riscv64-linux-gnu- ] || expect '[.metadata.escapes[] | select(startswith(".rodata.str") | not)] == []'
	cc=$cc_before flags=$flags_before
fi

begin exceptions "-fexceptions"
cat >a/m.c <<'E'
#include <stdio.h>
static void done(int *p) { printf("left %d\n", *p); }
int __attribute__((noinline)) f(int n) { int __attribute__((cleanup(done))) k = n; return puts("in") + k; }
int main(int argc, char **argv) { (void)argv; return f(argc); }
E
change m.c 's/+ k;/- k;/'
build && run 0 && changed '["f"]'
expect '.metadata.exceptions'
readelf -SW out.klp | grep -q gcc_except_table || fail "the exception table is missing"

if command -v "${prefix}g++" >/dev/null; then
	cc_before=$cc
	cc="${prefix}g++${cc#*gcc} -x c++"
	begin B35_B46_inline_in_two_units
	echo 'struct box { int v; int __attribute__((noipa)) get(int n) { return v + n; } };' >a/box.h
	echo '#include "box.h"' | tee a/m.c >a/o.c
	echo 'int far_use(int n) { box b = { n }; return b.get(2); }' >>a/o.c
	echo 'int far_use(int); int main(int argc, char **) { box b = { argc }; return b.get(1) + far_use(argc); }' >>a/m.c
	change box.h 's/v + n/v + n * 3/'
	objects
	cc=${cc% -x c++}
	for t in a b; do $cc -Wl,--build-id -o $t/prog $t/*.o || fail "does not link"; done
	strip -o running a/prog
	run 0 && changed '["_ZN3box3getEi"]'
	cc=$cc_before
fi

begin unlinked_function "" "-Wl,--gc-sections"
cat >a/m.c <<'E'
int __attribute__((noinline)) f(int n) { return n * 3; }
int main(int argc, char **argv) { (void)argv; return f(argc); }
E
# gcc 12 ties a unit's whole table of patch sites to its first function, so the unused one has a unit to itself
echo 'int unused(int n) { return n + 1; }' >a/u.c
change u.c 's/^int unused/static int fresh = 4; static int __attribute__((noinline)) extra(int n) { return n * fresh++; }\n&/' 's/n + 1/extra(n) + 2/'
build && run 3 && expect '.notes | any(test("unused is not linked"))'
change m.c 's/n \* 3/n * 4/'
build && run 0 && changed '["f"]' && expect '.new == [] and .data == []'

begin B40_stderr "$direct_cc" "$direct_ld"
cat >a/m.c <<'E'
#include <stdio.h>
int __attribute__((noinline)) f(int n) { return n + 1; }
int main(int argc, char **argv) { (void)argv; puts("x"); return f(argc); }
E
change m.c 's/return n + 1;/fputs("bad", stderr); return n + 1;/'
build && run 4 && refused stderr
expect '[.again[].symbol] == ["stderr"]'
begin B40_stderr_indirect "$indirect_cc" "$indirect_ld"
cp "$top/B40_stderr/a/m.c" a/
change m.c 's/return n + 1;/fputs("bad", stderr); return n + 1;/'
build && run 0
expect '.metadata.symbols[] | select(.name == "stderr") | .how == "dynamic" and .type == "object" and .got == 0'
expect '.metadata.symbols[] | select(.name == "fwrite") | .got == 0 and .plt == 0'

begin B42_wrap "" "-Wl,--wrap=malloc"
cat >a/m.c <<'E'
#include <stdlib.h>
void *__real_malloc(size_t);
void *__wrap_malloc(size_t n) { return __real_malloc(n + 16); }
void *__attribute__((noinline)) get(size_t n) { return malloc(n); }
E
echo 'void *get(unsigned long); int main(int argc, char **argv) { (void)argv; return !get((unsigned long)argc); }' >a/n.c
change m.c 's/return malloc(n)/return malloc(n + 1)/'
# in one unit the reference is undefined only if the unit does not define it: --wrap applies to both
build && run 0
expect '[.metadata.symbols[].name] == ["__wrap_malloc"]'

begin B45_export "-fPIC" "-shared"
cat >a/m.c <<'E'
int api(int n) { return n + 1; }
E
change m.c 's/n + 1/n + 2/' '$aint api_new(int n) { return n * 2; }'
build && run 4 && refused api_new
begin library "-fPIC" "-shared"
echo 'static int v = 1; int api(int n) { return n + v++; } int twice(int n) { return api(n) * 2; }' >a/m.c
change m.c 's/n + v++/n + v++ * 3/' 's/api(n) \* 2/api(n) * 3/'
build && run 0 && expect '[.metadata.objects[0].functions[].exported] | all'
expect '.metadata.symbols[] | select(.name == "api") | .how == "dynamic" and .plt > 0'

begin B50_hardened "-fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE" "-pie -Wl,-z,relro,-z,now"
cat >a/m.c <<'E'
#include <stdio.h>
#include <string.h>
int __attribute__((noinline)) copy(const char *s) { char b[32]; strncpy(b, s, sizeof(b) - 1); b[31] = 0; return printf("%s\n", b); }
int main(int argc, char **argv) { return copy(argv[argc - 1]); }
E
change m.c 's/"%s\\n"/"<%s>\\n"/'
build && run 0 && changed '["copy"]'

begin non_pie "-fno-pie" "-no-pie"
cp "$top/B09_tables/a/m.c" a/
change m.c 's/return 97/return 98/' 's/rand() \* 3/rand() * 5/' 's/atoi("3")/atoi("4444")/'
build && run 0 && changed '["jumps","table"]'

# Instructions load from a string as from eight aligned bytes: an equal string at another place will not do.
begin string_alignment
cat >a/m.c <<'E'
#include <string.h>
const char odd[] __attribute__((aligned(8))) = "A0123456789abcdef0123456789abcdef";
void __attribute__((noipa)) fill(char *p) { memcpy(p, "abcdefghijklmnopqrstuvwxyzabcdef", 32); }
int main(int argc, char **argv) { fill(argv[0]); return odd[argc]; }
E
change m.c 's/"abc.*ef"/"0123456789abcdef0123456789abcdef"/'
build && run 0 && changed '["fill"]'
expect "[.metadata.symbols[] | select(.name == \".rodata.str\") | .address % $string_align] | all(. == 0)"

# lld rewrites addresses that are near (adrp and add to nop and adr). For riscv64 it knows how to align code from version 15 on.
if command -v ld.lld >/dev/null && [ "$prefix" != riscv64-linux-gnu- ]; then
	mkdir "$top/linkers" && ln -s "$(command -v ld.lld)" "$top/linkers/ld.lld"
	begin lld -O0 "-B$top/linkers -fuse-ld=lld"
	cat >a/m.c <<'E'
static int tab[64];
void __attribute__((noinline)) use(int *p) { *p += 1; }
int __attribute__((noinline)) f(int n) { use(tab); return n + 1; }
int main(int argc, char **argv) { (void)argv; return f(argc); }
E
	change m.c 's/n + 1/n + 2/'
	build && run 0 && changed '["f"]'
	expect ".metadata.symbols[] | select(.name == \"tab\") | .address == $((16#$(nm a/prog | awk '$3 == "tab" {print $1}')))"
fi

begin two_machines
echo 'int f(void) { return 1; }' >a/m.c
objects
for other in gcc aarch64-linux-gnu-gcc; do
	command -v $other >/dev/null && [ "$($other -dumpmachine)" != "$($cc -dumpmachine)" ] || continue
	$other -O2 -c a/m.c -o other.o
	"$tool" compare a/m.c.o other.o >out.json 2>err
	rc=$?
	checks=$((checks + 1))
	[ $rc = 1 ] && grep -q 'is for .*, other objects are for' err || fail "objects of two machines: exit $rc"
done

begin B51_other_architecture
cat >a/m.c <<'E'
int __attribute__((noinline)) f(int n) {
#ifdef __s390x__
	return n;
#endif
	return n + 1;
}
int main(int argc, char **argv) { (void)argv; return f(argc); }
E
change m.c 's/return n;/return n - 1;/'
build && run 3

begin no_site
cat >a/m.c <<'E'
int __attribute__((noinline, patchable_function_entry(0, 0))) f(int n) { return n + 1; }
int main(int argc, char **argv) { (void)argv; return f(argc); }
E
change m.c 's/n + 1/n + 2/'
build && run 4 && refused f

begin weak_override
cat >a/m.c <<'E'
int __attribute__((weak)) policy(int n) { return n; }
int main(int argc, char **argv) { (void)argv; return policy(argc); }
E
echo 'int other;' >a/o.c
change o.c '$aint policy(int n) { return n + 5; }'
build && run 4 && refused policy

begin identity
cp "$top"/B*/a/m.c . 2>/dev/null
for d in "$top"/*/a; do
	for f in "$d"/*.o; do
		[ -e "$f" ] || continue
		status=0
		"$tool" compare "$f" "$f" >out.json 2>err || status=$?
		checks=$((checks + 1))
		[ $status = 3 ] && jq -e "[.changed, .new, .removed, .data, .refused] | all(length == 0)" out.json >/dev/null ||
			fail "$f differs from itself: exit status $status"
	done
done
"$tool" compare "$f" "$f" >/dev/null
[ $? = 3 ] || fail "an object compared with itself is no change"

begin B40_copied_data "$direct_cc" "$direct_ld"
cat >a/m.c <<'E'
#include <stdio.h>
void __attribute__((noipa)) say(int n) { fputs(n ? "one" : "none", stdout); }
int main(int argc, char **argv) { (void)argv; say(argc); return ferror(stdout); }
E
change m.c 's/"one"/"some"/'
build && run 0 && changed '["say"]'
copy=$((16#$(readelf -rW running | awk '/R_(X86_64|AARCH64|RISCV)_COPY/ && /stdout/ { print $1 }')))
expect ".metadata.symbols[] | select(.name | startswith(\"stdout\")) | .how == \"address\" and .address == $copy"

begin B40_no_copy "$direct_cc" "$direct_ld"
cat >a/m.c <<'E'
#include <stdio.h>
void __attribute__((noipa)) say(int n) { fputs(n ? "one" : "none", stdout); }
int main(int argc, char **argv) { (void)argv; say(argc); return ferror(stdout); }
E
change m.c 's/stdout); }/stderr); }/'
build && run 4 && refused stderr
expect '[.refused[].symbol] | index("stdout") == null'

begin B40_copy_no_longer_used "$direct_cc" "$direct_ld"
cat >a/m.c <<'E'
#include <stdio.h>
void __attribute__((noipa)) say(int n) { fputs(n ? "one" : "none", stdout); }
int main(int argc, char **argv) { (void)argv; say(argc); return 0; }
E
change m.c 's/fputs(n .*stdout)/putchar(n)/'
build && run 0 && changed '["say"]'

begin B40_plt_address "-fno-pie" "-no-pie"
cat >a/m.c <<'E'
#include <stdlib.h>
#include <string.h>
typedef int compare(const char *, const char *);
compare *__attribute__((noipa)) choose(int n) { return n > 5 ? strcoll : strcmp; }
int main(int argc, char **argv) { return choose(argc)(argv[0], "a"); }
E
change m.c 's/n > 5/n > 7/'
build && run 0 && changed '["choose"]'
plt=$((16#$(readelf -W --dyn-syms running | awk '$8 ~ /^strcoll/ { print $2 }')))
[ "$plt" -gt 0 ] || fail "the program has no address of strcoll"
expect ".metadata.symbols[] | select(.name == \"strcoll\") | .how == \"dynamic\" and .plt == $plt"

begin damaged_objects
cp "$top/B09_tables/a/m.c.o" good.o
size=$(stat -c %s good.o)
for i in $(seq 1 60); do
	cp good.o bad.o
	for k in 1 2 3; do
		printf "\\x$(printf %02x $(((i * 37 + k * 91) % 256)))" | dd of=bad.o bs=1 seek=$(((i * 7919 + k * 104729) % size)) conv=notrunc status=none
	done
	timeout 20 "$tool" compare good.o bad.o >out.json 2>err
	rc=$?
	checks=$((checks + 1))
	[ $rc -le 4 ] || fail "damaged object $i: exit $rc"
done
head -c $((size / 2)) good.o >bad.o
"$tool" compare good.o bad.o >out.json 2>err
[ $? = 1 ] || fail "half an object is not an error"
# every section in turn as one without contents (SHT_NOBITS), .comment among them
headers=$(readelf -h good.o | sed -n 's/.*Start of section headers: *\([0-9]*\).*/\1/p')
count=$(readelf -h good.o | sed -n 's/.*Number of section headers: *\([0-9]*\).*/\1/p')
[ "$count" -gt 5 ] || fail "good.o has few sections"
for i in $(seq 1 $((count - 1))); do
	cp good.o bad.o
	printf '\x08\0\0\0' | dd of=bad.o bs=1 seek=$((headers + 64 * i + 4)) conv=notrunc status=none
	timeout 20 "$tool" compare good.o bad.o >out.json 2>err
	rc=$?
	checks=$((checks + 1))
	[ $rc -le 4 ] || fail "section $i without contents: exit $rc"
done

echo "$checks checks, $failures failures"
[ $failures = 0 ]
