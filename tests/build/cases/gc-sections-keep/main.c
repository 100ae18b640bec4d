/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

void never_called(void);

/* Nobody uses the unit's first function, so the linker drops it. */
void never_called(void)
{
	puts("never");
}

void probe(const char *input)
{
	(void)input;
	puts("collected");
}
