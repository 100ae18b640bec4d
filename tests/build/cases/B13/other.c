/* SPDX-License-Identifier: Apache-2.0 */
#include "limit.h"

int other(int v);

__attribute__((noinline)) int unrelated(int v);

int other(int v)
{
	return LIMIT(v + 1) * 2 + unrelated(v);
}

int unrelated(int v)
{
	return v & 1;
}
