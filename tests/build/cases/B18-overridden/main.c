/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

int standard(int v);

void probe(const char *input)
{
	printf("%d\n", standard(*input));
}
