#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What klp-build makes of the difference between two objects of riscv64: by gcc and clang, at several levels, for a linker that relaxes and for
# one that does not, with and without compressed instructions.
# usage: compare_riscv64.sh TOOL COMPILER
set -u
tool=$1 cc=$2
top=$(mktemp -d) || exit 1
trap 'rm -rf "$top"' EXIT
failures=0 checks=0
common="-g -w -ffunction-sections -fdata-sections -fno-lto"

fail() {
	echo "FAIL: $name: $*"
	failures=$((failures + 1))
	[ -s out.json ] && jq -c '{refused,changed,new,data,notes}' out.json
	[ -s err ] && cat err
}
begin() {
	name=$1
	mkdir -p "$top/$name" && cd "$top/$name" || exit 1
}
# make FILE: a.o of a.FILE unless it is there, and b.o of b.FILE
make() {
	local t
	for t in a b; do
		[ $t = b ] || [ ! -e a.o ] || continue
		# shellcheck disable=SC2086 # words
		$one $common $flags -c "$t.$1" -o $t.o || { fail "$t.$1 does not compile"; return 1; }
	done
}
# compare EXPECTED
compare() {
	local rc
	"$tool" compare a.o b.o >out.json 2>err
	rc=$?
	checks=$((checks + 1))
	[ $rc = "$1" ] || fail "result $rc instead of $1"
}
expect() {
	checks=$((checks + 1))
	jq -e "$1" out.json >/dev/null || fail "not so: $1"
}
# case_c NAME SED-EXPRESSION RESULT EXPECTATION... of unit.c
case_c() {
	local expectation
	begin "$set-$1"
	cp "../$set-identity/"a.[co] .
	sed "$2" a.c >b.c
	cmp -s a.c b.c && fail "nothing is changed"
	make c || return
	compare "$3"
	shift 3
	for expectation in "$@"; do expect "$expectation"; done
}

cat >"$top/unit.c" <<'E'
#define APART __attribute__((noinline, noclone))
extern int outer;
extern int call(int), other(int);
extern int puts(const char *);
int limit = 10;
static int left = 3, right = 4;
__thread int depth = 2;
extern __thread int far;
static const int table[12] = {1, 2, 3, 5, 8, 13, 21, 34};
static const char *const names[3] = {"zero", "one", "two"};
int APART add(int n) { return n + 1; }
int APART uses_left(int n) { left += n; return left; }
int APART uses_right(int n) { right += n; return right; }
int APART counts(int n) { static int calls = 1; calls += n; return calls; }
double APART scaled(double x) { return x * 2.5; }
void APART speaks(void) { puts("old text"); puts("kept"); }
int APART looked_up(unsigned n) { return table[n & 7]; }
void APART named(unsigned n) { puts(names[n % 3]); }
int APART threads(int n) { depth += n; return depth + far; }
int APART loops(int n) { int s = 0; for (int i = 0; i < n; i++) { if (call(i) > 4) s += other(i); else s ^= i; } return s + outer; }
int APART jumps(int n) { switch (n) { case 1: return call(1); case 2: return outer + 8; case 3: return call(30); case 4: return add(n); case 5: return other(5); case 6: limit++; return 2; } return 1; }
static void __attribute__((constructor)) start(void) { left = call(left); }
E

# unit NAME FLAGS LEVELS COMPILER...
unit() {
	local level only made=$1 base=$2 levels=$3
	shift 3
	one=$*
	for level in $levels; do
		set=$made$level flags="$base $level"
		begin "$set-identity"
		cp ../unit.c a.c
		sed '1s/^/\n\n/' a.c >b.c
		make c || return
		compare 3
		expect '.changed == [] and .refused == [] and .data == []'
		cp a.o b.o
		compare 3
		case_c length 's/n + 1/(n * 77 ^ limit) + (n > 3)/' 0 '[.changed[].symbol] == ["add"]'
		# the instructions are the same, and so are the low halves: only the high half says another name
		case_c target 's/left += n; return left/right += n; return right/' 0 '[.changed[].symbol] == ["uses_left"]'
		case_c call 's/> 4) s += other/> 4) s += call/' 0 '[.changed[].symbol] == ["loops"]'
		case_c branch 's/if (call(i) > 4)/if (call(i) > 4 \&\& i > 9)/' 0 '[.changed[].symbol] == ["loops"]'
		# gcc -O0 has all strings and constants of a unit in one section, which belongs to all that refer to it
		only='== ["speaks"]'
		[ $level = -O0 ] && only='| index("speaks") != null'
		case_c string 's/old text/new text/' 0 "[.changed[].symbol] $only"
		case_c constant 's/x \* 2\.5/x * 2.75/' 0 "[.changed[].symbol] ${only/speaks/scaled}"
		# clang leaves the table's address in a1, which may be a result, and makes distances of pointers
		if [ "${made#gcc}" != "$made" ]; then
			case_c table 's/13, 21/13, 22/' 0 '[.changed[].symbol] == ["looked_up"]' '[.data[].symbol] == ["table"]'
			case_c names 's/"two"/"last"/' 0 '[.data[].symbol] == ["names"]' '[.changed[].symbol] | index("named") != null'
		fi
		case_c stored 's/^void APART speaks/const int *kept; void APART keeps(void) { kept = table; }\n&/;s/13, 21/13, 22/' 4 '[.refused[].symbol] == ["table"]'
		case_c returned 's/^void APART speaks/const int *APART finds(int n) { return n > 3 ? table + n : 0; }\n&/;s/13, 21/13, 22/' 4 '[.refused[].symbol] == ["table"]'
		case_c passed 's/^void APART speaks/extern int sum(const int *, int); int APART sums(int n) { return sum(table, n) + 1; }\n&/;s/13, 21/13, 22/' 4 '[.refused[].symbol] == ["table"]'
		case_c switch 's/case 5: return other(5); case 6: limit++; return 2;/case 6: return other(5); case 5: limit++; return 2;/' 0 \
			'[.changed[].symbol] == ["jumps"]'
		case_c thread 's/depth + far/far + depth + depth/' 0 '[.changed[].symbol] == ["threads"]'
		case_c new_function 's/^int APART add(int n) { return n + 1/int APART fresh(int n) { return n * outer; } int APART add(int n) { return fresh(n)/' 0 \
			'[.changed[].symbol] == ["add"]' '[.new[].symbol] == ["fresh"]'
		case_c static_local 's/^int APART counts/int APART before(int n) { static int calls = 9; return calls += n; }\n&/;s/calls += n; return calls;/calls ^= n; return calls;/' 0 \
			'[.changed[].symbol] == ["counts"]'
		case_c removed '/^int APART uses_right/d' 0 '.changed == []' '[.removed[].symbol] == ["uses_right"]'
		case_c initialised 's/limit = 10/limit = 20/' 4 '[.refused[].symbol] == ["limit"]'
		case_c new_thread_local 's/^extern __thread/__thread int more; &/;s/depth + far/depth + more/' 4 '[.refused[].symbol] | index("more") != null'
		case_c constructor 's/left = call(left)/left = call(left + 2)/' 4 '[.refused[].symbol] | index("start") != null'
	done
}
levels='-O0 -O2 -Os'
unit gcc '-fno-section-anchors' "$levels" "$cc"
unit gcc-rv64g '-march=rv64g -mno-relax -fPIC -fno-section-anchors' "$levels" "$cc"
unit gcc-sites '-mno-relax -fno-section-anchors -fpatchable-function-entry=34,32' -O2 "$cc"
unit gcc-medlow '-march=rv64g -mcmodel=medlow -fno-pie -fno-section-anchors' -O2 "$cc"
if command -v clang >/dev/null; then
	# clang has a section of its own for no small datum
	unit clang '-mrelax -msmall-data-limit=0' "$levels" clang --target=riscv64-linux-gnu
	unit clang-rv64g '-march=rv64g -fPIC -mno-relax -msmall-data-limit=0' "$levels" clang --target=riscv64-linux-gnu
else
	echo "NOTE: clang is not installed"
fi

one=$cc flags=
# assembly NAME SED-EXPRESSION RESULT EXPECTATION... of two.s
assembly() {
	local expectation
	begin "$1"
	cp ../two.s a.s
	sed "$2" a.s >b.s
	make s || return
	compare "$3"
	shift 3
	for expectation in "$@"; do expect "$expectation"; done
}
# g uses the address that f makes; h has two high halves and one low one
cat >"$top/two.s" <<'E'
	.section .text.f,"ax",@progbits
	.globl f
	.type f, @function
f:
.Lhigh:	auipc t0, %pcrel_hi(one)
	nop
	lw a0, %pcrel_lo(.Lhigh)(t0)
	ret
	.size f, .-f
	.section .text.g,"ax",@progbits
	.globl g
	.type g, @function
g:	lw a0, %pcrel_lo(.Lhigh)(t0)
	ret
	.size g, .-g
	.section .text.h,"ax",@progbits
	.globl h
	.type h, @function
h:
.Lone:	auipc t0, %pcrel_hi(one)
.Ltwo:	auipc t0, %pcrel_hi(two)
	lw a0, %pcrel_lo(.Lone)(t0)
	ret
	.size h, .-h
	.section .text.k,"ax",@progbits
	.globl k
	.type k, @function
k:	.reloc ., R_RISCV_TPREL_I, one
	li a0, 1
	ret
	.size k, .-k
	.section .text.m,"ax",@progbits
	.globl m
	.type m, @function
m:	c.nop
	.p2align 3
	beqz a0, m
	ret
	.size m, .-m
	.section .note.GNU-stack,"",@progbits
E
assembly same '' 3 '.changed == [] and .refused == []'
assembly high_elsewhere '/^.Lhigh/s/one/two/' 0 '[.changed[].symbol] | sort == ["f","g"]'
assembly high_kind '/^.Lhigh/s/pcrel_hi/got_pcrel_hi/' 0 '[.changed[].symbol] | sort == ["f","g"]'
assembly high_thread '/^.Lhigh/s/pcrel_hi/tls_gd_pcrel_hi/' 0 '[.changed[].symbol] | sort == ["f","g"]'
assembly label 's/%pcrel_lo(.Lone)/%pcrel_lo(.Ltwo)/' 0 '[.changed[].symbol] == ["h"]'
assembly high_of_low '/^.Lone/s/one)/two)/' 0 '[.changed[].symbol] == ["h"]'
# the auipc moves, and what the low halves name with it
assembly moved '/^.Lhigh/{h;d};/^\tnop/{G}' 0 '[.changed[].symbol] | sort == ["f","g"]'
assembly unknown '/^k:/,/size k/s/li a0, 1/li a0, 2/' 4 '[.refused[].symbol] == ["k"] and (.refused[0].reason | test("R_RISCV_TPREL_I"))'
assembly unknown_changed '/^k:/s/one/one+4/' 4 '[.refused[].symbol] == ["k"]'
assembly alignment '/^m:/,/size m/s/p2align 3/p2align 4/' 0 '[.changed[].symbol] == ["m"]'
assembly branch 's/beqz a0, m$/beqz a0, m+2/' 0 '[.changed[].symbol] == ["m"]'

# uses RESULT INSTRUCTIONS [FIRST SECOND]: what becomes of a constant's address in a5; the constant changes. For a linker that relaxes, and not.
uses() {
	local option
	count=$((${count:-0} + 1))
	for option in -mrelax -mno-relax; do
		begin "use$count$option"
		flags="-march=rv64gc $option"
		cat >a.s <<-S
			.section .text.f,"ax",@progbits
			.globl f
			.type f, @function
			f:
			.Lhigh: auipc a5, ${3:-%pcrel_hi}(tab)
			${4:-addi a5, a5, %pcrel_lo(.Lhigh)}
			$2
			li a5, 0
			li a0, 0
			ret
			.size f, .-f
			.section .rodata.tab,"a",@progbits
			.type tab, @object
			tab: .dword 1
			.size tab, 8
			.section .note.GNU-stack,"",@progbits
		S
		sed 's/dword 1/dword 2/' a.s >b.s
		name="$name ($2)"
		make s && compare "$1"
	done
}
# a4 and a5: it is in one or in the other, never in both
either='bnez a1, 1f; 2:' or='j 3f; 1: mv a4, a5; mv a5, a2; j 2b; 3:'
for code in 'lw a0, 0(a5)' 'c.lw a0, 0(a5)' 'c.ld a0, 0(a5)' 'fld fa0, 0(a5)' 'c.fld fa0, 0(a5)' 'add a5, a5, a0; lw a0, 0(a5)' \
	'c.add a5, a0; c.lw a5, 0(a5)' 'c.mv a4, a5; ld a4, 0(a4)' 'beqz a0, 1f; lw a0, 0(a5); 1:' 'c.beqz a0, 1f; c.lw a0, 0(a5); 1:' \
	'c.j 1f; sd a5, 0(sp); 1:' 'jal x0, 1f; c.sdsp a5, 0(sp); 1:' 'sub s1, a5, a5' 'mv s1, a5; c.sub s1, a5' 'call puts; sd a5, 0(sp)' \
	'bnez a0, 1f; .subsection 1; 1: ebreak; .previous' 'c.bnez a0, 1f; .subsection 1; 1: c.ebreak; .previous' \
	'addi t3, a5, 8; 1: lw a0, 0(a5); addi a5, a5, 4; bne a5, t3, 1b' 'mv t3, a5; add t3, t3, a0; sub t3, t3, a5; sd t3, 0(sp)' \
	'call t0, __riscv_save_2; lw a0, 0(a5)' 'jal t0, __riscv_save_12; lw a0, 0(a5)' 'mv s1, a5; lw a0, 0(s1); tail __riscv_restore_2' \
	'mv s11, a5; tail __riscv_restore_12' 'c.fsdsp fa0, 8(sp); c.fsdsp fa0, 16(sp); lw a0, 0(a5)' \
	'mv t3, a5; lui t3, 1; sd t3, 0(sp)' 'mv t3, a5; c.li t3, 1; sd t3, 0(sp)' 'mv t3, a5; c.lui t3, 1; sd t3, 0(sp)'; do
	uses 0 "$code"
done
for code in 'sd a5, 0(sp)' 'sb a5, 0(a0)' 'sd a0, 0(a5)' 'c.sdsp a5, 8(sp)' 'c.swsp a5, 8(sp)' 'c.sd a5, 0(a0)' 'c.sw a5, 0(a0)' 'c.sd a0, 0(a5)' 'fsd fa0, 0(a5)' \
	'c.fsd fa0, 0(a5)' 'c.mv a0, a5; ret' 'add a0, a5, a1; ret' 'c.add a0, a5; c.jr ra' 'addi a0, a5, 8; jr ra' 'c.addi a5, 8; sd a5, 0(sp)' \
	'c.srli a5, 3; sd a5, 0(sp)' 'c.or a0, a5; sd a0, 0(sp)' 'c.subw a0, a5; sd a0, 0(sp)' 'beq a5, a0, 1f; 1:' 'c.beqz a5, 1f; 1:' 'c.bnez a5, 1f; 1:' \
	'sltu a0, a5, a1' 'sltiu a0, a5, 1' 'mv a0, a5; call puts' 'mv a0, a5; tail puts' 'mv s1, a5; tail puts' 'call other' 'jal other' 'tail other' 'jalr a4' 'c.jalr a4' \
	'c.jalr a5' 'jr a4' 'c.jr a4' 'ecall' 'amoswap.d a0, a5, (a1)' 'lr.d a0, (a5)' 'fmv.d.x fa0, a5' 'fcvt.d.l fa0, a5' 'mv s1, a5; li a5, 0; ret' 'csrw fflags, a5' \
	'beqz a0, 1f; j 2f; 1: sd a5, 0(sp); 2:' 'c.beqz a0, 1f; c.j 2f; 1: sd a5, 0(sp); 2:' '1: beqz a0, 2f; sd a4, 0(sp); 2: mv a4, a5; bnez a0, 1b' \
	'ebreak; sd a5, 0(sp)' 'c.ebreak; sd a5, 0(sp)' '.2byte 0xac62' '.2byte 0xac22' '.2byte 0xa002' '.2byte 0xb842' '.2byte 0xbe42' \
	"$either sub t4, a5, a4; sd t4, 0(sp); $or" "$either c.sub a5, a4; sd a5, 0(sp); $or" "$either beq a5, a4, 3f; $or" "$either sltu a0, a5, a4; $or" \
	'slli t3, a5, 4; sub t3, t3, a5; sd t3, 0(sp)' 'c.mv t3, a5; c.slli t3, 4; sub t3, t3, a5; sd t3, 0(sp)' 'add t3, a5, a5; sub t3, t3, a5; sd t3, 0(sp)' \
	'sext.w t3, a5; sub t3, t3, a5; sd t3, 0(sp)' 'mv t3, a5; li a5, 0; call t0, __riscv_save_2; sd t3, 0(sp)' 'mv s1, a5; call t0, __riscv_save_2; li s1, 0' \
	'call t0, __riscv_save_13' 'call t0, __riscv_save_' 'call t0, __riscv_saved' 'call __riscv_save_2' 'mv a0, a5; tail __riscv_restore_2' \
	'mv s2, a5; tail __riscv_restore_2' 'mv a4, a5; tail __riscv_restored' 'mv s1, a5; call puts; sd s1, 0(sp)' '.2byte 0x9fe1; .2byte 0' 'beqz a0, outside'; do
	uses 4 "$code"
done

# by a slot that holds the address
slot='ld a5, %pcrel_lo(.Lhigh)(a5)'
uses 0 'lw a0, 0(a5)' %got_pcrel_hi "$slot"
uses 4 'sd a5, 0(sp)' %got_pcrel_hi "$slot"

# Two high halves at one auipc: what the low half means nobody can say, in its own function or another's.
cat >"$top/two.s" <<'E'
	.section .text.f,"ax",@progbits
	.globl f
	.type f, @function
f:
.Lhigh:	.reloc ., R_RISCV_PCREL_HI20, two
	auipc t0, %pcrel_hi(one)
	lw a0, %pcrel_lo(.Lhigh)(t0)
	ret
	.size f, .-f
	.section .text.g,"ax",@progbits
	.globl g
	.type g, @function
g:	lw a0, %pcrel_lo(.Lhigh)(t0)
	ret
	.size g, .-g
	.section .text.h,"ax",@progbits
	.globl h
	.type h, @function
h:	li a0, 1
	ret
	.size h, .-h
	.section .note.GNU-stack,"",@progbits
E
for what in 's/HI20, two/HI20, three/' 's/%pcrel_hi(one)/%pcrel_hi(three)/' 's/li a0, 1/li a0, 2/'; do
	assembly "two_high_halves_$((both = ${both:-0} + 1))" "$what" 4 '[.refused[] | select(.reason | test("names no high half, or several")) | .symbol] | sort == ["f","g"]'
done
uses 4 'lw a0, 0(a5)' '%pcrel_hi(tab); .reloc .Lhigh, R_RISCV_PCREL_HI20, other; #'
uses 4 'lw a0, 0(a5)' '%pcrel_hi(other); .reloc .Lhigh, R_RISCV_PCREL_HI20, tab; #'

# many halves in one function
begin many_halves
one=$cc flags=-mno-relax
{
	printf '%s\n' '.section .text.f,"ax",@progbits' '.globl f' '.type f, @function' 'f:'
	for i in $(seq 40000); do printf '.L%d: auipc a5, %%pcrel_hi(tab)\nlw a5, %%pcrel_lo(.L%d)(a5)\n' "$i" "$i"; done
	printf '%s\n' 'li a5, 0' 'li a0, 0' 'ret' '.size f, .-f' '.section .rodata.tab,"a",@progbits' '.type tab, @object' 'tab: .dword 1' '.size tab, 8' \
		'.section .note.GNU-stack,"",@progbits'
} >a.s
sed 's/dword 1/dword 2/' a.s >b.s
make s
# far below a second, but more than a minute where each half looks at all others
timeout 20 "$tool" compare a.o b.o >out.json 2>err
rc=$?
checks=$((checks + 1))
[ $rc = 0 ] || fail "result $rc instead of 0"

begin relocations
readelf -rW ../gcc-O2-identity/a.o >rel
for type in RELAX PCREL_HI20 PCREL_LO12_I BRANCH SUB32 CALL_PLT; do
	grep -q "R_RISCV_$type " rel || fail "gcc makes no $type of the unit"
done

begin small_data
one=$cc flags='-O2 -fno-pie -mcmodel=medlow'
printf '%s\n' 'int only = 7;' 'int get(void) { return only; }' >a.c
sed 's/7/8/' a.c >b.c
common='' make c
readelf -SW a.o | grep -q ' \.sdata ' || fail "no small data"
compare 4
expect '[.refused[] | [.symbol, (.reason | test("variable changed"))]] == [["only", true]]'

begin save_restore
one=$cc flags='-Os -msave-restore -fno-section-anchors'
printf '%s\n' 'extern int other(int);' 'static const int table[12] = {1, 2, 3, 5, 8, 13, 21, 34};' \
	'int f(int n) { return table[other(n) & 7]; }' >a.c
sed 's/13, 21/13, 22/' a.c >b.c
make c
readelf -rW a.o >rel
if ! grep -q __riscv_save_ rel || ! grep -q __riscv_restore_ rel; then fail "the compiler calls neither"; fi
compare 0
expect '[.data[] | [.symbol, .action]] == [["table", "cloned"]]'

begin two_machines
one=$cc flags=-O2
echo 'int __attribute__((noinline)) f(int n) { return n + 1; }' >a.c
sed 's/n + 1/n + 2/' a.c >b.c
make c
for host in gcc aarch64-linux-gnu-gcc; do
	command -v $host >/dev/null || continue
	$host -O2 -c a.c -o b.o
	"$tool" compare a.o b.o >out.json 2>err
	rc=$?
	checks=$((checks + 1))
	[ $rc = 1 ] && grep -q 'is for .*, other objects are for' err || fail "objects of two machines: exit $rc"
done

echo "$checks checks, $failures failures"
[ $failures = 0 ]
