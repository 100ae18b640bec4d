/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include <assert.h>

#define THREE(x) \
	((x) + \
	 3)

static volatile int sink;

__attribute__((noinline)) void user(void)
{
	sink = THREE(sink);
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
