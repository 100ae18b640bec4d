/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include <assert.h>

#if 0
it's not C, and (not closed
here "neither
#endif

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
