/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include <assert.h>

/*
 * A comment
 * of several lines, #if 0
 */

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
