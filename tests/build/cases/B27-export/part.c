/* SPDX-License-Identifier: Apache-2.0 */
#include "part.h"

int part_calls;

/* Of the same name as one of the program. */
static __attribute__((noinline)) int check(int v)
{
	return v * 3 + 100;
}

int part(int v)
{
	part_calls++;
	return check(v);
}
