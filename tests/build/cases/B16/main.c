/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

__thread int calls = 5;
static __thread int last;

void probe(const char *input)
{
	calls += 2;
	last = *input;
	printf("%d %d\n", calls, last);
}
