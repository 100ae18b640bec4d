/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

int limit[2] = { 10, 11 };

void probe(const char *input)
{
	(void)input;
	printf("%d\n", limit[0]++);
}
