/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

static const char *const names[] = { "one", "two", "three", "four" };

void probe(const char *input)
{
	printf("%s\n", names[*input & 3]);
}
