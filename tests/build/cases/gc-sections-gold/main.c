/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

/* The unit's first function is in the program, but this linker finds nothing that refers to the table. */
void probe(const char *input)
{
	(void)input;
	puts("collected");
}
