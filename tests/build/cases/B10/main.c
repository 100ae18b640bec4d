/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

__attribute__((noinline)) static double scale(double v)
{
	return v * 2.5;
}

void probe(const char *input)
{
	printf("%.2f\n", scale(*input));
}
