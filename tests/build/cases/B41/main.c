/* SPDX-License-Identifier: Apache-2.0 */
/* No object of the process uses strnlen: its resolver has to be run. */
#include "probe.h"

#include <string.h>

void probe(const char *input)
{
	printf("%d\n", (int)strlen(input));
}
