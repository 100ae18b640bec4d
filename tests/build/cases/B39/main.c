/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include "limits_of.h"

int other(void);

void probe(const char *input)
{
	(void)input;
	printf("%d %d\n", MAXIMUM, other());
}
