/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

int limit = 10;

void probe(const char *input)
{
	(void)input;
	printf("%d\n", limit);
}
