/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

int number(void);

void probe(const char *input)
{
	(void)input;
	printf("%d\n", number());
}
