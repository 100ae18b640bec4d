/* SPDX-License-Identifier: Apache-2.0 */
/* Loading it needs the function to be resolved in the process already, or by the loader: what the module says is checked here. */
#include "probe.h"

#include <string.h>

void probe(const char *input)
{
	printf("%d\n", (int)strlen(input));
}
