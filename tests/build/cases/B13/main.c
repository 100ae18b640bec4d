/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include "limit.h"

int other(int v);

void probe(const char *input)
{
	printf("%d %d\n", LIMIT(*input), other(*input));
}
