/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

static int by_add(int v)
{
	return v + v;
}

static int by_shift(int v)
{
	return v << 1;
}

static int (*resolve_twice(void))(int)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("sse2") ? by_shift : by_add;
}

int twice(int v) __attribute__((ifunc("resolve_twice")));

void probe(const char *input)
{
	printf("%d\n", twice(*input));
}
