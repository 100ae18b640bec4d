/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

static int calls = 4;

__attribute__((noinline)) static int count(int v)
{
	calls += v;
	return calls;
}

void probe(const char *input)
{
	printf("%d\n", count(*input == 'x'));
}
