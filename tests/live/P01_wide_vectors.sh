#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Arguments and results in whole ymm and zmm registers: unchanged on the direct path and, while a transition is pending, through the trampoline. Beside them all vector and
# mask registers, lane by lane, over a call of a function that touches none: a caller in assembly may know that and count on it.
. "$(dirname "$0")/lib.sh"
begin
[ "$(uname -m)" = x86_64 ] || skip "ymm and zmm are x86_64's"
grep -qw avx2 /proc/cpuinfo || skip "the processor has no AVX2"
own_program 's/VERSION 1/VERSION 2/' <<'C'
#include <immintrin.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define VERSION 1

static int fd[2];

__attribute__((noipa, target("avx2"))) __m256d wide(__m256d a, __m256d b, __m256d c, __m256d d, __m256d e, __m256d f, __m256d g, __m256d h)
{
	return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + VERSION;
}

__attribute__((noipa, target("avx512f"))) __m512d wider(__m512d a, __m512d b, __m512d c, __m512d d, __m512d e, __m512d f, __m512d g, __m512d h)
{
	return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + VERSION;
}

__attribute__((noipa)) int nothing(int x)
{
	return x + VERSION;
}

__attribute__((noipa)) int stay(void)
{
	char c;

	return (int)read(fd[0], &c, 1) + VERSION;
}

static void *stays(void *arg)
{
	stay();
	return arg;
}

__attribute__((noipa, target("avx2"))) static void ask_wide(double *out)
{
	__m256d v[8];

	for (int i = 0; i < 8; i++)
		for (int k = 0; k < 4; k++)
			v[i][k] = 10 * i + k;
	_mm256_storeu_pd(out, wide(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]));
}

__attribute__((noipa, target("avx512f"))) static void ask_wider(double *out)
{
	__m512d v[8];

	for (int i = 0; i < 8; i++)
		for (int k = 0; k < 8; k++)
			v[i][k] = 10 * i + k;
	_mm512_storeu_pd(out, wider(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]));
}

/* Registers that carry no argument here: the upper ones and the masks too. How many bytes were changed by a call. */
static unsigned char before[32 * 64 + 8 * 8], after[32 * 64 + 8 * 8];

#define EACH(x) x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) x(10) x(11) x(12) x(13) x(14) x(15)
#define UPPER(x) x(16) x(17) x(18) x(19) x(20) x(21) x(22) x(23) x(24) x(25) x(26) x(27) x(28) x(29) x(30) x(31)
#define MASKS(x) x(1) x(2) x(3) x(4) x(5) x(6) x(7)
#define Y_LOAD(n) "vmovdqu before+" #n "*64(%%rip), %%ymm" #n "\n\t"
#define Y_SAVE(n) "vmovdqu %%ymm" #n ", after+" #n "*64(%%rip)\n\t"
#define Z_LOAD(n) "vmovdqu64 before+" #n "*64(%%rip), %%zmm" #n "\n\t"
#define Z_SAVE(n) "vmovdqu64 %%zmm" #n ", after+" #n "*64(%%rip)\n\t"
#define K_LOAD(n) "kmovw before+2048+" #n "*8(%%rip), %%k" #n "\n\t"
#define K_SAVE(n) "kmovw %%k" #n ", after+2048+" #n "*8(%%rip)\n\t"

#define EACH_X                                                                                                         \
	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",     \
	    "xmm13", "xmm14", "xmm15"

static int changed(int all, int *answer)
{
	int n = 0, x = 5;

	for (size_t i = 0; i < sizeof(before); i++) {
		before[i] = (unsigned char)(i * 7 + 1);
		after[i] = 0;
	}
	if (all)
		__asm__ volatile(EACH(Z_LOAD) UPPER(Z_LOAD) MASKS(K_LOAD) "sub $128, %%rsp\n\tcall nothing\n\tadd $128, %%rsp\n\t"
				 EACH(Z_SAVE) UPPER(Z_SAVE) MASKS(K_SAVE) "vzeroupper"
				 : "=a"(*answer), "+D"(x)::"rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc", EACH_X);
	else
		__asm__ volatile(EACH(Y_LOAD) "sub $128, %%rsp\n\tcall nothing\n\tadd $128, %%rsp\n\t" EACH(Y_SAVE) "vzeroupper"
				 : "=a"(*answer), "+D"(x)::"rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc", EACH_X);
	for (size_t i = 0; i < 2048; i++)
		if (all || (i < 1024 && i % 64 < 32))
			n += before[i] != after[i];
	for (size_t i = 1; all && i < 8; i++)
		n += memcmp(before + 2048 + i * 8, after + 2048 + i * 8, 2) != 0;
	return n;
}

int main(void)
{
	char line[64];
	pthread_t t;

	if (pipe(fd))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		double out[8] = {0};
		int n = 0, v = 0;

		if (!strncmp(line, "has", 3))
			printf("%d\n", __builtin_cpu_supports("avx512f") != 0);
		else if (!strncmp(line, "wider", 5))
			ask_wider(out), n = 8;
		else if (!strncmp(line, "wide", 4))
			ask_wide(out), n = 4;
		else if (!strncmp(line, "changed", 7))
			v = changed(__builtin_cpu_supports("avx512f"), &n), printf("%d %d\n", v, n), n = 0;
		else if (!strncmp(line, "stay", 4))
			printf("%d\n", pthread_create(&t, NULL, stays, NULL));
		else if (!strncmp(line, "leave", 5))
			printf("%d\n", write(fd[1], "", 1) == 1 ? pthread_join(t, NULL) : 1);
		else
			printf("?\n");
		for (int i = 0; i < n; i++)
			printf("%g%s", out[i], i + 1 < n ? " " : "\n");
		fflush(stdout);
	}
}
C
target t "$work/tree/prog"
ask has
has=$REPLY
[ "$has" = 1 ] || echo "NOTE: the processor has no AVX-512: ymm only"
# 10 * (1*0 + 2*1 + ... + 8*7) + 36 * lane + VERSION
lanes() { # COUNT VERSION
	for ((i = 0; i < $1; i++)); do printf '%s%d' "$([ $i = 0 ] || echo ' ')" $((1680 + 36 * i + $2)); done
}
answers() { # VERSION
	expect "$(lanes 4 "$1")" wide
	[ "$has" = 0 ] || expect "$(lanes 8 "$1")" wider
	expect "0 $((5 + $1))" changed
}
answers 1
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
answers 2
ctl 0 unload -v --json -p "$(p)" own
answers 1
# Somebody sleeps in the old code: every call is dispatched, by the trampoline.
expect 0 stay
ctl 5 load -v --json --timeout 0.5 -p "$(p)" "$work/own.klp"
for _ in 1 2 3; do
	ask changed
	case $REPLY in '0 6' | '0 7') ;; *) die "through the trampoline: bytes changed, and the answer: $REPLY" ;; esac
	version=$((${REPLY#0 } - 5))
	answers $version
done
# The thread that asks is always outside patched code when it waits for a question: it has moved, or moves now.
expect 0 leave
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
answers 2
ctl 0 unload -v --json -p "$(p)" own
answers 1
