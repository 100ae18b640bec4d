/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

extern const int limit;

void probe(const char *input)
{
	(void)input;
	printf("%d\n", limit);
}
