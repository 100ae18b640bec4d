/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include <stdlib.h>

void probe(const char *input)
{
	char *volatile p = NULL;

	free(p);
	printf("%d\n", *input);
}
