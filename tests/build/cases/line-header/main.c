/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include "check.h"

int other(int v);

__attribute__((noinline)) int unchanged(const char *input)
{
	return check((int)input[0] - 97);
}

void probe(const char *input)
{
	printf("%d %d\n", unchanged(input), other(1));
}
