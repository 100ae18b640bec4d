/* SPDX-License-Identifier: Apache-2.0 */
/* Calls a function and counts in a variable that the library exports. */
#include "part.h"

int part_calls;

int half(int v)
{
	return v / 2;
}

int part(int v)
{
	part_calls++;
	return half(v) + part_calls;
}
