/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include <string.h>
#include <assert.h>

__attribute__((noinline)) const char *unchanged(void)
{
	return __FILE__;
}

void probe(const char *input)
{
	assert(input);
	printf("%c %s %d %d\n", __FILE__[0], strrchr(__FILE__, '/') + 1, __FILE__ == unchanged() || !strcmp(__FILE__, unchanged()), __LINE__);
}
