/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIVE_TARGET_H
#define LIVE_TARGET_H

#define NOINLINE __attribute__((noinline, noclone))

struct huge {
	long word[12];
	double d;
};

struct wait_kind {
	const char *name;
	int (*once)(void *arg); /* one wait: 0 as it should be, else errno or a negative number */
	void *(*make)(void);
	long period_ms; /* > 0: it must end after this long */
};

/* functions.c: what the modules replace */
int answer(int x);
int other(int x);
int third(int x);
int sleeper(int fd);
long many(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, double k, double l, double m,
	  double n, double o, double p, double q, double r, double s, double t);
struct huge make_huge(int seed);
int sum_varargs(int n, ...);
int factorial(int n);
int is_even(int n);
int middle(int x);
int leaf(int x);
int caller7(int x);
int callee7(int x);
int pair_a(void);
int pair_b(void);
int pair_check(void);
int handled(int x);
int small_stack(int n);
double vector_sum(double a, float b);
int blocker(const struct wait_kind *k, void *arg);

/* libaux.c */
int aux_answer(int x);
int aux_even(int n, int (*back)(int));
int aux_exported(int x);

/* waits.c */
void waits_start(void);
void waits_report(void);

#endif
