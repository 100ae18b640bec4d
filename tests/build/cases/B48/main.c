/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

static __attribute__((noinline)) int scale(int v)
{
	return v * 3;
}

void probe(const char *input)
{
	printf("%d\n", scale(*input));
}
