/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include <assert.h>

/* one
   two */
static const char text[] = "one \
two";

__attribute__((noinline)) const char *tell(void)
{
	return text;
}

/* Not changed by the fix, but below it. */
__attribute__((noinline)) int unchanged(const char *input)
{
	assert(input[0] != 'x');
	return __LINE__;
}

void probe(const char *input)
{
	printf("%d\n", unchanged(input));
}
