/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

static __attribute__((noinline)) int size_of(const char *text)
{
	return text[0] + 1;
}

void probe(const char *input)
{
	printf("%d\n", size_of(input));
}
