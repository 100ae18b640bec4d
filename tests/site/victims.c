/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with -fpatchable-function-entry: old and new version of each function that the tests patch. */
#include <stdarg.h>
#include <stdint.h>
#include "victims.h"

int victim_plain(int a)
{
	return a * 2 + 1;
}

int victim_plain_new(int a)
{
	return a * 2 + 2;
}

struct big victim_big(struct big in, int i, ...)
{
	struct big out = in;
	va_list ap;

	va_start(ap, i);
	for (int k = 0; k < 8; k++) {
		out.v[k] += i + va_arg(ap, int);
		out.d[k] += va_arg(ap, double);
	}
	va_end(ap);
	return out;
}

struct big victim_big_new(struct big in, int i, ...)
{
	struct big out = in;
	va_list ap;

	va_start(ap, i);
	for (int k = 0; k < 8; k++) {
		out.v[k] += i + va_arg(ap, int) + 1000;
		out.d[k] += va_arg(ap, double) + 1000;
	}
	va_end(ap);
	return out;
}

#define MANY_ARGS                                                                                                     \
	long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, double k, double l, double m, \
	    double n, double o, double p, double q, double r, double s, double t, long double u
#define MANY_SUM                                                                      \
	(a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j + \
	 (long)(11 * k + 12 * l + 13 * m + 14 * n + 15 * o + 16 * p + 17 * q + 18 * r + 19 * s + 20 * t + (double)u))

long victim_many(MANY_ARGS)
{
	return MANY_SUM;
}

long victim_many_new(MANY_ARGS)
{
	return MANY_SUM + 1;
}

int victim_recurse(int n)
{
	return n ? n + victim_recurse(n - 1) : 0;
}

/* As a replacement does it: through the old function's entry. */
int victim_recurse_new(int n)
{
	return n ? 2 * n + victim_recurse(n - 1) : 0;
}

/* What the torture hammers. The value tells which body ran and that the argument arrived. */
uint64_t victim_hammer(uint64_t a)
{
	return a * 3 + 1;
}

uint64_t victim_hammer_new(uint64_t a)
{
	return a * 3 + 2;
}
