/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <assert.h>

__attribute__((noinline)) static int checked(int v)
{
	assert(v >= 0);
	return v;
}

void probe(const char *input)
{
	printf("%d\n", checked(*input));
}
