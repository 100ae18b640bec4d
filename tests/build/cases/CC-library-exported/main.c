/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include "part.h"

void probe(const char *input)
{
	printf("%d\n", part(*input));
}
