/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

static int start;

__attribute__((constructor)) static void begin(void)
{
	start = 5;
}

void probe(const char *input)
{
	printf("%d\n", start + *input);
}
