#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `klp-build compare` makes of sections in which several functions or data are, of names that stand for something else, and of data that leads to itself: no
# difference is lost, no variable begins anew, no constant gets a copy while somebody may hold the address of the old one.
# usage: shared_sections.sh KLP-BUILD COMPILER...     of one architecture
set -u
klp_build=$1
shift
top=$(mktemp -d) || exit 1
trap 'rm -rf "$top"' EXIT
cd "$top" || exit 1
failures=0 checks=0
each='-O2 -ffunction-sections -fdata-sections'

fail() {
	echo "FAIL: $*"
	[ -s out ] && jq -c '{refused,functions,data}' out
	[ -s err ] && head -3 err
	failures=$((failures + 1))
}

# expect NAME STATUS FLAGS [JQ-CONDITION]: of a.SUFFIX and b.SUFFIX, for each compiler.
expect() {
	local name=$1 want=$2 flags=$3 condition=${4:-true} rc
	for cc in "${compilers[@]}"; do
		for f in a b; do
			# shellcheck disable=SC2086 # words
			$cc $flags -c "$f.$suffix" -o "$f.o" 2>err || { fail "$name: $cc $flags: does not compile"; return; }
		done
		rc=0
		timeout 20 "$klp_build" compare --json a.o b.o >out 2>err || rc=$?
		checks=$((checks + 1))
		[ $rc = "$want" ] || { fail "$name ($cc $flags): exit status $rc, expected $want"; continue; }
		[ "$condition" = true ] || jq -e "$condition" out >/dev/null || fail "$name ($cc $flags): not $condition"
	done
}
compilers=("$@") suffix=c

# A section of several functions, of which the first one is new: the fix is in one of them.
echo 'int g(int); int f(int n){return g(n)+1;} int k(int n){return g(n)*3;}' >a.c
cat >b.c <<'C'
int g(int);
static int __attribute__((noinline)) bound(int n){return g(n)>9?9:n;}
int f(int n){ if(n>64) return -1; return g(bound(n))+1; }
int k(int n){return g(n)*3;}
C
expect "several functions in .text" 4 "-O2 -fno-function-sections"
sed -i 's/int f(/int __attribute__((section(".text.hotpart"))) f(/; s/int k(/int __attribute__((section(".text.hotpart"))) k(/' a.c b.c
sed -i 's/((noinline))/((noinline, section(".text.hotpart")))/' b.c
expect "several functions in a section of their own" 4 "$each"
cat >a.c <<'C'
int g(int);
#define IN __attribute__((section(".text.hotpart")))
int IN f(int n){return g(n)+1;}
int IN k(int n){return g(n)*3;}
C
cat >b.c <<'C'
int g(int);
#define IN __attribute__((section(".text.hotpart")))
int IN k(int n){return g(n)*5;}
int IN f(int n){return g(n)+2;}
C
expect "they change places and both change" 4 "$each"
cp a.c b.c
expect "nothing changes" 3 "$each"
sed 's/g(n)+1/g(n)+2/' a.c >b.c
expect "one of them changes" 4 "$each"

# Variables that share a section keep their values.
cat >a.c <<'C'
#define IN __attribute__((section(".data.group")))
static int IN users=1, IN limit=100;
int login(int n){users+=n;return users;}
int may(int n){limit+=n;return limit>users;}
C
cat >b.c <<'C'
#define IN __attribute__((section(".data.group")))
static int IN calls=7, IN users=1, IN limit=100;
int login(int n){calls+=n;users+=n;return users+calls;}
int may(int n){limit+=n;return limit>users;}
C
expect "a new variable among others" 4 "$each"
sed -i 's/__attribute__((section(".data.group")))//' a.c b.c
expect "a new variable in .data" 4 "-O2 -ffunction-sections -fno-data-sections"
sed -i 's/=1,/,/; s/=7,/,/; s/=100//' a.c b.c
expect "a new variable in .bss" 4 "-O2 -ffunction-sections -fno-data-sections"

# A name that stands for another section: an alias of something new.
echo 'int g(int); int f(int n){return g(n)+1;}' >a.c
echo 'int g(int); int safe(int n){return n>9?-1:g(n)+1;} int f(int n) __attribute__((alias("safe")));' >b.c
expect "an alias of something new" 4 "$each"

# A constant that leads to itself: whoever has loaded from it holds its address.
cat >a.c <<'C'
struct st{const struct st*next;int lim;};
struct conn{const struct st*s;};
static const struct st sts[3]={{&sts[1],10},{&sts[2],20},{&sts[0],30}};
void step(struct conn*c,unsigned i){c->s=sts[i].next;}
int limit(unsigned i){return sts[i].lim;}
C
sed 's/30}/25}/' a.c >b.c
expect "a constant that leads to itself" 4 "$each -fno-pie"

# Code of the original has stored the address; that of the patched tree does not.
cat >a.c <<'C'
const int *kept;
static const int tab[16]={1,2,3,4,5,6,7,8};
int f(unsigned n){kept=tab;return tab[n&7];}
int g(void){return kept[7];}
C
sed 's/kept=tab;//; s/7,8/7,9/' a.c >b.c
expect "an address that the original has stored" 4 "$each -fno-pie"

# A common variable has no section, but a size.
echo 'char buf[64]; int f(int i){return buf[i];}' >a.c
sed 's/64/128/' a.c >b.c
expect "a common variable grows" 4 "$each -fcommon"
cp a.c b.c
expect "a common variable" 3 "$each -fcommon"

# Constants and strings that only others read, by name; data that leads to each other.
suffix=S
printf '.section .rodata.cst8,"aM",%%progbits,8\n.globl k\n.type k,%%object\n.size k,8\nk: .8byte 1\n' >a.S
sed 's/8byte 1/8byte 2/' a.S >b.S
expect "an exported constant" 4 ''
printf '.section .rodata.str1.1,"aMS",%%progbits,1\n.globl msg\n.type msg,%%object\nmsg: .string "one"\n' >a.S
sed 's/one/two/' a.S >b.S
expect "an exported string" 4 ''
printf '.section .rodata.x,"a",%%progbits\n.globl msg\nmsg: .8byte 1\n' >a.S
sed 's/8byte 1/8byte 2/' a.S >b.S
expect "an exported label" 4 ''
cat >a.S <<'S'
.section .text.f,"ax",%progbits
.globl f
.type f,%function
f: .8byte .LA
.size f,.-f
.section .text.g,"ax",%progbits
.globl g
.type g,%function
g: .8byte .LB
.size g,.-g
.section .rodata.A,"a",%progbits
.LA: .8byte .LB, .LS
.section .rodata.B,"a",%progbits
.LB: .8byte .LA
.section .rodata.str1.1,"aMS",%progbits,1
.LS: .string "one"
S
sed 's/one/two/' a.S >b.S
expect "data that lead to each other" 0 '' '.functions.changed | index("f") and index("g")'
cat >a.S <<'S'
.section .text.f,"ax",%progbits
.globl f
.type f,%function
f: .8byte .LA
.section .rodata.A,"a",%progbits
.LA: .8byte .LA
S
cat >b.S <<'S'
.section .text.f,"ax",%progbits
.globl f
.type f,%function
f: .8byte .LA
.section .rodata.A,"a",%progbits
.LA: .8byte .LB
.section .rodata.B,"a",%progbits
.LB: .8byte .LA
S
expect "one ring and another" 3 ''
{
	printf '.section .text.f,"ax",%%progbits\n.globl f\n.type f,%%function\nf: .8byte .L0\n'
	for ((i = 0; i < 40; i++)); do printf '.section .rodata.n%d,"a",%%progbits\n.L%d: .8byte .L%d, .L%d\n' $i $i $((i + 1)) $((i + 1)); done
	printf '.section .rodata.n40,"a",%%progbits\n.L40: .8byte 1\n'
} >a.S
sed '4,$s/^\.L\([0-9]*\): .8byte .L\([0-9]*\), .L[0-9]*$/.L\1: .8byte .L\2, .M\2\n.M\1: .8byte .M\2, .L\2/' a.S >b.S
cp a.S b.S
{
	cat a.S
	for ((i = 1; i <= 40; i++)); do printf '.section .rodata.m%d,"a",%%progbits\n.M%d: .8byte ' $i $i; [ $i = 40 ] && echo 1 || echo ".L$((i + 1)), .M$((i + 1))"; done
} | sed 's/^\(\.L[0-9]*: .8byte .L[0-9]*\), .L\([0-9]*\)$/\1, .M\2/' >b.S
expect "forty levels of pairs" 3 ''
awk 'BEGIN { print ".section .text.f,\"ax\",%progbits\n.globl f\n.type f,%function\nf: .8byte .L0"
	for (i = 0; i < 60000; i++) printf ".section .rodata.n%d,\"a\",%%progbits\n.L%d: .8byte .L%d\n", i, i, i + 1
	print ".section .rodata.end,\"a\",%progbits\n.L60000: .8byte 1" }' >a.S
sed 's/8byte 1$/8byte 2/' a.S >b.S
expect "a long chain" 0 '' '.functions.changed == ["f"]'
cp a.S b.S
expect "the same long chain" 3 ''
echo "$checks checks, $failures failures"
[ $failures = 0 ]
