/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

__attribute__((noinline)) static int first(int v)
{
	return v + 1;
}

void probe(const char *input)
{
	printf("%d\n", first(*input));
}
