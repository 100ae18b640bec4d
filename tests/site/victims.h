/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_TEST_VICTIMS_H
#define KLP_TEST_VICTIMS_H

#include <stdint.h>

#define PREFIX_19_16 16u

struct big {
	long v[8];
	double d[8];
};

int victim_plain(int a);
int victim_plain_new(int a);
struct big victim_big(struct big in, int i, ...);
struct big victim_big_new(struct big in, int i, ...);
long victim_many(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, double k, double l,
		 double m, double n, double o, double p, double q, double r, double s, double t, long double u);
long victim_many_new(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, double k, double l,
		     double m, double n, double o, double p, double q, double r, double s, double t, long double u);
int victim_recurse(int n);
int victim_recurse_new(int n);
uint64_t victim_hammer(uint64_t a);
uint64_t victim_hammer_new(uint64_t a);
void victim_dump(void);
void victim_dump_new(void);

#endif
