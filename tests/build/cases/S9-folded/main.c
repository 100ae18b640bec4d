/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

__attribute__((noinline)) int received(int v);
__attribute__((noinline)) int sent(int v);

/* Equal by chance: the linker leaves one of them. */
int received(int v)
{
	return v % 100 + 1;
}

int sent(int v)
{
	return v % 100 + 1;
}

void probe(const char *input)
{
	printf("%d %d\n", received(*input), sent(*input));
}
