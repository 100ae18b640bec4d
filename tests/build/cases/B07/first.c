/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

void first(void);

static __attribute__((noinline)) int value(int x)
{
	return x + 10;
}

static int count = 10;

void first(void)
{
	count++;
	printf("first %d ", value(count));
}
