/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include "limit.h"

int other(int v);

void probe(const char *input)
{
	printf("%d\n", limit(*input) + other(*input));
}
