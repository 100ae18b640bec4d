/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

static __attribute__((noinline)) int twice(int v)
{
	return v * 2;
}

void probe(const char *input)
{
	printf("%d\n", twice(*input));
}
