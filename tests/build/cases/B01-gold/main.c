/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

void probe(const char *input)
{
	(void)input;
	puts("old answer");
}
