/* SPDX-License-Identifier: Apache-2.0 */
/* The program that is patched: the test itself. */
#include "tests/link/target.h"

#include <unistd.h>

int t_value = 40;
__thread int t_tls = 7;
__thread char t_pad[77];
__thread int t_tls_high __attribute__((aligned(64))) = 9;

__attribute__((noinline)) int t_add(int a, int b)
{
	return a + b;
}

__attribute__((noinline)) int t_old(int a)
{
	return t_add(a, t_value);
}

/* Never called: its slot stays as the dynamic linker left it. */
__attribute__((noinline)) int t_never(int a)
{
	return a > 1000000 ? (int)getppid() + (int)getpgid(a) : 0;
}
