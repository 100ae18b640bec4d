/* SPDX-License-Identifier: Apache-2.0 */
/* The source of modules: compiled in many ways, linked against a running program, and run there. */
#include <string.h>
#include <unistd.h>

#include "target.h"

static int counter = 100;
static long zeroed[70000];
static const int table[8] = {1, 2, 4, 8, 16, 32, 64, 128};
static const char *const words[] = {"one", "three", "seven"};
static int (*const pointer)(int, int) = t_add;

__attribute__((noinline)) static int local(int a)
{
	counter++;
	return a * 3 + table[a & 7];
}

__attribute__((noinline)) static int choose(int a)
{
	switch (a) {
	case 0:
		return counter;
	case 1:
		return t_add(a, 50);
	case 2:
		return (int)strlen(words[a]);
	case 3:
		return (int)zeroed[a];
	case 4:
		return table[5] + a;
	case 5:
		return t_value + a;
	case 6:
		return 1234;
	default:
		return -1;
	}
}

__attribute__((noinline)) int m_tail(int a)
{
	return t_add(a, 5);
}

__attribute__((noinline)) int m_pointer(int (*f)(int, int), int a)
{
	return f(a, a);
}

void m_run(struct result *r, int n)
{
	static int runs;
	char text[32];

	memset(text, 'x', sizeof(text));
	text[n & 15] = 0;
	r->v[R_CALL] = t_add(n, 2);
	r->v[R_ADDRESS] = (long)&t_add;
	r->v[R_DATA] = ++t_value;
	r->v[R_IFUNC] = (long)strlen(text);
	r->v[R_LIBC_CALL] = getpid();
#ifndef WITHOUT_LIBC_ADDRESS
	r->v[R_LIBC_ADDR] = (long)&getpid;
#endif
	r->v[R_STATIC] = ++runs + counter;
	r->v[R_CONST] = table[n & 7];
	r->v[R_SWITCH] = choose(n);
	r->v[R_LOCAL] = local(n);
	r->v[R_BSS] = ++zeroed[69999];
	r->v[R_POINTERS] = (long)strlen(words[n % 3]);
	r->v[R_TAIL] = m_tail(n);
	r->v[R_POINTER_CALL] = m_pointer(pointer, n);
#ifdef WITH_ENVIRON
	r->v[R_ENVIRON] = (long)environ;
#endif
#ifdef WITH_TLS
	r->v[R_TLS] = ++t_tls;
	r->v[R_TLS_HIGH] = t_tls_high;
	r->v[R_TLS_ADDRESS] = (long)&t_tls_high;
#endif
}
