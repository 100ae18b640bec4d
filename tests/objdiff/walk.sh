#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Where the address of a constant goes: over landing pads, for every compiler that is here, and through single instructions of aarch64 and x86_64
# (those of riscv64: compare_riscv64.sh). The constant changes, so it is copied (0) or refused (4).
# usage: walk.sh TOOL
set -u
tool=$1
top=$(mktemp -d) || exit 1
trap 'rm -rf "$top"' EXIT
cd "$top" || exit 1
failures=0 checks=0

fail() {
	echo "FAIL: $name: $*"
	failures=$((failures + 1))
	[ -s out.json ] && jq -c '{refused,changed,data}' out.json
	[ -s err ] && cat err
}
# compare SUFFIX RESULT SED-EXPRESSION CONSTANT: a.SUFFIX and what the expression makes of it
compare() {
	local rc
	sed "$3" "a.$1" >"b.$1"
	cmp -s "a.$1" "b.$1" && fail "nothing is changed"
	for t in a b; do
		# shellcheck disable=SC2086 # words
		$one $flags -c "$t.$1" -o $t.o || { fail "$t.$1 does not compile"; return; }
	done
	"$tool" compare a.o b.o >out.json 2>err
	rc=$?
	checks=$((checks + 1))
	[ $rc = "$2" ] || { fail "result $rc instead of $2"; return; }
	if [ "$2" = 4 ]; then
		jq -e ".refused | any(.symbol == \"$4\" and (.reason | test(\"stored, passed or returned\")))" out.json >/dev/null ||
			fail "refused for another reason"
	else
		jq -e "[.data[] | select(.symbol == \"$4\").action] == [\"cloned\"]" out.json >/dev/null || fail "the constant is not copied"
	fi
}

# What unwinds a frame restores the registers that calls preserve, and the frame's landing pad goes on with them.
# landing COMPILER...: the address is kept on that way only
landing() {
	one=$*
	for level in -O1 -O2 -Os; do
		flags="-w -ffunction-sections -fdata-sections -fno-lto -fexceptions $level"
		name="landing pad ($one $level)"
		cat >a.c <<-'E'
			extern long read(int, void *, unsigned long);
			extern const int *kept;
			static const int tab[16] = {1, 2, 3, 4, 5, 6, 7, 8};
			static inline __attribute__((always_inline)) void leave(const int **p) { if (*p) kept = *p; }
			int f(int fd, unsigned n)
			{
				const int *p = tab + (n & 7), *__attribute__((cleanup(leave))) mine = p;
				int s = p[0] + p[1];
				char c = 0;
				s += (int)read(fd, &c, 1) + c;
				mine = 0;
				return s;
			}
		E
		compare c 4 's/7, 8/7, 9/' tab
		name="another function's landing pad ($one $level)"
		cat >a.c <<-'E'
			extern long read(int, void *, unsigned long);
			extern void done(void);
			extern int outer(void);
			static const int tab[16] = {1, 2, 3, 4, 5, 6, 7, 8};
			static inline __attribute__((always_inline)) void leave(int *n) { done(); }
			int g(int fd) { int __attribute__((cleanup(leave))) mine; char c = 0; return (int)read(fd, &c, 1) + c; }
			int f(int fd, unsigned n, unsigned m)
			{
				char c = 0;
				int s = tab[n & 7];
				s += (int)read(fd, &c, 1);
				return s + tab[(m + c) & 7] + outer();
			}
		E
		compare c 0 's/7, 8/7, 9/' tab
		# with a landing pad, but the address is in no register that a call preserves
		name="landing pad without it ($one $level)"
		cat >a.c <<-'E'
			extern long read(int, void *, unsigned long);
			extern void done(void);
			static const int tab[16] = {1, 2, 3, 4, 5, 6, 7, 8};
			static inline __attribute__((always_inline)) void leave(int *n) { done(); }
			int f(int fd, unsigned n)
			{
				int __attribute__((cleanup(leave))) mine;
				char c = 0;
				return (int)read(tab[n & 7], &c, 1) + c;
			}
		E
		compare c 0 's/7, 8/7, 9/' tab
	done
}
# thrown COMPILER...: the same of C++
thrown() {
	one=$*
	for level in -O1 -O2 -Os; do
		flags="-w -ffunction-sections -fdata-sections -fno-lto $level"
		name="catch ($one $level)"
		cat >a.cc <<-'E'
			extern "C" long read(int, void *, unsigned long);
			extern const int *kept;
			static const int tab[16] = {1, 2, 3, 4, 5, 6, 7, 8};
			int f(int fd, unsigned n)
			{
				const int *p = tab + (n & 7);
				int s = p[0];
				char c = 0;
				try { s += (int)read(fd, &c, 1); } catch (...) { kept = p; throw; }
				return s + c;
			}
		E
		compare cc 4 's/7, 8/7, 9/' _ZL3tab
		# x86_64's walk gives up where the address moves on, so it stays in one register
		name="catch of the address itself ($one $level)"
		cat >a.cc <<-'E'
			int other();
			extern const int *kept;
			static const int tab[16] = {1, 2, 3, 4, 5, 6, 7, 8};
			int f(unsigned n)
			{
				const int *p = tab;
				__asm__("" : "+r"(p));
				int s = p[n & 7];
				try { s += other(); } catch (...) { kept = p; throw; }
				return s;
			}
		E
		compare cc 4 's/7, 8/7, 9/' _ZL3tab
	done
}
for machine in '' aarch64-linux-gnu- riscv64-linux-gnu-; do
	if command -v ${machine}gcc >/dev/null; then landing ${machine}gcc; else echo "NOTE: ${machine}gcc is not installed"; fi
	if command -v ${machine}g++ >/dev/null; then thrown ${machine}g++; else echo "NOTE: ${machine}g++ is not installed"; fi
done
if command -v clang >/dev/null; then
	for machine in x86_64 aarch64 riscv64; do
		# of the small data of riscv64 clang makes one section
		small=''
		[ $machine = riscv64 ] && small=-msmall-data-limit=0
		landing clang --target=$machine-linux-gnu $small
		thrown clang++ --target=$machine-linux-gnu $small
	done
else
	echo "NOTE: clang is not installed"
fi

# uses MACHINE RESULT INSTRUCTIONS: what becomes of the constant's address, in x9 or %rbx
uses() {
	local type=@ take end
	case $1 in
	aarch64) one=aarch64-linux-gnu-gcc type=% take='adrp x9, tab; add x9, x9, :lo12:tab' end='mov x9, 0; mov x0, 0; ret' ;;
	x86_64) one=gcc take='lea tab(%rip), %rbx' end='xor %ebx, %ebx; xor %eax, %eax; ret' ;;
	esac
	flags='' name="$1 ($3)"
	command -v "$one" >/dev/null || return
	cat >a.s <<-S
		.section .text.f,"ax",${type}progbits
		.globl f
		.type f, ${type}function
		f: $take
		$3
		$end
		.size f, .-f
		.section .rodata.tab,"a",${type}progbits
		.type tab, ${type}object
		tab: .quad 1
		.size tab, 8
		.section .note.GNU-stack,"",${type}progbits
	S
	compare s "$2" 's/quad 1/quad 2/' tab
}
# x10 and x9: it is in one or in the other, never in both
either='cbz x1, 1f; 2:' or='b 3f; 1: mov x10, x9; mov x9, x2; b 2b; 3:'
for code in 'ldr w0, [x9]' 'mov x10, x9; sub x10, x10, x9; str x10, [sp]' 'sub x10, x9, x9; str x10, [sp]' \
	'add x10, x9, 8; 1: ldr w0, [x9], 4; cmp x9, x10; bne 1b' 'add x10, x9, x1, lsl 2; sub x10, x10, x9; str x10, [sp]' \
	'cbz x0, 1f; .subsection 1; 1: brk 1000; .previous' 'mov x10, x9; mov x19, x10; bl puts; sub x19, x19, x19; str x19, [sp]'; do
	uses aarch64 0 "$code"
done
for code in 'str x9, [sp]' 'brk 0xf000; str x9, [sp]' 'brk 1; str x9, [sp]' 'brk 1000; str x9, [sp]' "$either sub x11, x9, x10; str x11, [sp]; $or" \
	"$either cmp x9, x10; $or" "$either tst x9, x10; $or" 'lsl x10, x9, 4; sub x10, x10, x9; str x10, [sp]' 'sub x10, x9, x9, lsl 3; str x10, [sp]' \
	'sub x10, x9, w9, uxtw; str x10, [sp]' 'mov w10, w9; sub x10, x10, x9; str x10, [sp]' 'add x10, x9, x9; sub x10, x10, x9; str x10, [sp]' \
	'add w10, w9, 4; sub x10, x10, x9; str x10, [sp]' 'sub w10, w9, w1; sub x10, x10, x9; str x10, [sp]' 'cmp x9, x1'; do
	uses aarch64 4 "$code"
done
for code in 'mov (%rbx), %eax' 'int3; mov (%rbx), %eax' 'ud2; mov %rbx, (%rsp)'; do
	uses x86_64 0 "$code"
done
for code in 'mov %rbx, (%rsp)' 'int3; mov %rbx, (%rsp)' 'int $3; mov %rbx, (%rsp)' 'int $0x80' 'cmp %rbx, %rax' 'sub %rbx, %rbx'; do
	uses x86_64 4 "$code"
done

echo "$checks checks, $failures failures"
[ $failures = 0 ] && [ $checks -gt 0 ]
