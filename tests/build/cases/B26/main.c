/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

int part(int v);

void probe(const char *input)
{
	printf("main %d\n", part(*input));
}
