/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include <assert.h>

__attribute__((unused)) static int unused_a(void)
{
	return 1;
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
