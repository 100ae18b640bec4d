/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

int object;

void probe(const char *input)
{
	(void)input;
	printf("%d\n", object);
}
