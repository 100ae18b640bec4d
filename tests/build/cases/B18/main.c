/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

int standard(int v);
int real(int v);
int other_name(int v) __attribute__((alias("real")));

__attribute__((weak, noinline)) int standard(int v)
{
	return v + 1;
}

__attribute__((noinline)) int real(int v)
{
	return v + 2;
}

void probe(const char *input)
{
	int (*volatile by_alias)(int) = other_name;

	printf("%d %d %d\n", standard(*input), real(*input), by_alias(*input));
}
