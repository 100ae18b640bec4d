/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

__attribute__((noinline)) static long factorial(int n)
{
	if (n < 2) {
		putchar('.');
		return 1;
	}
	return n * factorial(n - 1) + (factorial(n - 2) & 1);
}

void probe(const char *input)
{
	printf("%ld\n", factorial(*input - 'a'));
}
