/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

static inline int limit(int v)
{
	return v > 100 ? 100 : v;
}

__attribute__((noinline)) static int first(int v)
{
	return limit(v) + 1;
}

__attribute__((noinline)) static int second(int v)
{
	return limit(v * 2) - 1;
}

void probe(const char *input)
{
	printf("%d %d\n", first(*input), second(*input));
}
