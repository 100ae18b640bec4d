/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include "value.h"

void probe(const char *input)
{
	(void)input;
	printf("%d\n", VALUE);
}
