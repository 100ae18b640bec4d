/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

void probe(const char *input)
{
	static int calls;

	(void)input;
	calls++;
	printf("call %d\n", calls);
}
