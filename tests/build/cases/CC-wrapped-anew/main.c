/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include <stdlib.h>

void probe(const char *input)
{
	free(NULL);
	printf("%d\n", *input);
}
