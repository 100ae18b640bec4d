/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include "shape.h"

void probe(const char *input)
{
	printf("%d %d %d\n", scaled(*input), area(*input), third(*input));
}
