/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include "part.h"

static __attribute__((noinline)) int check(int v)
{
	return v - 100;
}

void probe(const char *input)
{
	printf("main %d\n", check(part(*input)));
}
