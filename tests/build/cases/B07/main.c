/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

void first(void);
void second(void);

void probe(const char *input)
{
	(void)input;
	first();
	second();
}
