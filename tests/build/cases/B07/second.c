/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

void second(void);

static __attribute__((noinline)) int value(int x)
{
	return x + 20;
}

static int count = 20;

void second(void)
{
	count++;
	printf("second %d\n", value(count));
}
