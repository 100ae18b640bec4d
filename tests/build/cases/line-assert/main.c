/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include <assert.h>
#include <string.h>

static int answer(const char *input)
{
	return (int)strlen(input) + 1;
}

/* Not changed by the fix, but below it. */
__attribute__((noinline)) int unchanged(const char *input)
{
	assert(input[0] != 'x');
	return __LINE__;
}

void probe(const char *input)
{
	printf("%d in line %d\n", answer(input), unchanged(input));
}
