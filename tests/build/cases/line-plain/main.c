/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include <assert.h>

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define BUILD_CHECK(c) enum { CAT(checked_, __LINE__) = 1 / !!(c) }

BUILD_CHECK(sizeof(int) == 4);
BUILD_CHECK(sizeof(char) == 1);

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
