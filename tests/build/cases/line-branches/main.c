/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include <assert.h>

#ifdef __linux__
#define SYSTEM "linux"
#else
#define SYSTEM "else"
#endif

static const char *volatile name;

__attribute__((noinline)) void user(void)
{
	name = SYSTEM;
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
