/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

int area(int a, int b);

void probe(const char *input)
{
	printf("%d\n", area(*input, 2));
}
