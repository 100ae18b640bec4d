/* SPDX-License-Identifier: Apache-2.0 */
extern "C" {
#include "probe.h"
}
#include "clip.h"

int other(int v);

void probe(const char *input)
{
	printf("%d %d\n", clip<90>(*input), other(*input));
}
