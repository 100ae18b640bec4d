/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that the modules of the live tests replace: each has a visible version. */
#include "target.h"

#include <stdarg.h>
#include <unistd.h>

static int calls_kept; /* a patch must find the value that the original left */

NOINLINE int answer(int x)
{
	calls_kept++;
	return x * 10 + 1;
}

NOINLINE int other(int x)
{
	return x * 100 + 1 + calls_kept * 0;
}

NOINLINE int third(int x)
{
	return x * 1000 + 1;
}

/* Stays on its caller's stack until somebody writes to the pipe. */
NOINLINE int sleeper(int fd)
{
	char c = 0;

	while (read(fd, &c, 1) < 0)
		;
	return 100 + c;
}

NOINLINE long many(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, double k, double l,
		   double m, double n, double o, double p, double q, double r, double s, double t)
{
	long sum = a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j;

	return sum * 10 + (long)(k + 2 * l + 3 * m + 4 * n + 5 * o + 6 * p + 7 * q + 8 * r + 9 * s + 10 * t) + 0;
}

NOINLINE struct huge make_huge(int seed)
{
	struct huge h;

	for (int i = 0; i < 12; i++)
		h.word[i] = seed + i;
	h.d = seed + 0.5;
	return h;
}

NOINLINE int sum_varargs(int n, ...)
{
	va_list ap;
	double sum = 1;

	va_start(ap, n);
	for (int i = 0; i < n; i++)
		sum += i & 1 ? va_arg(ap, double) : va_arg(ap, int);
	va_end(ap);
	return (int)sum;
}

NOINLINE double vector_sum(double a, float b)
{
	return a + (double)b + 1;
}

NOINLINE int factorial(int n)
{
	return n < 2 ? 1 : n * factorial(n - 1);
}

/* Goes to the library and back until n is 0. */
NOINLINE int is_even(int n)
{
	return n == 0 ? 1 : aux_even(n - 1, is_even);
}

NOINLINE int leaf(int x)
{
	return x + 1;
}

NOINLINE int middle(int x)
{
	return leaf(x) * 2;
}

NOINLINE int callee7(int x)
{
	return x + 1;
}

NOINLINE int caller7(int x)
{
	return callee7(x) * 10 + 1;
}

/* The contract: both of one version. pair_check is in the patch too: a thread may move between two calls of a caller
 * that is not. */
NOINLINE int pair_a(void)
{
	int v = 1;

	__asm__ volatile("" : "+r"(v)); /* callers must not know it */
	return v;
}

NOINLINE int pair_b(void)
{
	int v = 1;

	__asm__ volatile("" : "+r"(v)); /* callers must not know it */
	return v;
}

NOINLINE int pair_check(void)
{
	int a = pair_a(), b = pair_b();

	return a == b ? a : -1;
}

NOINLINE int handled(int x)
{
	return x + 1;
}

NOINLINE int small_stack(int n)
{
	char room[64];

	for (int i = 0; i < 64; i++)
		((volatile char *)room)[i] = (char)n;
	return ((volatile char *)room)[n & 63] + 1;
}

/* On the stack of every waiting thread; no module replaces it. */
NOINLINE int blocker(const struct wait_kind *k, void *arg)
{
	return k->once(arg) + 0;
}
