/* SPDX-License-Identifier: Apache-2.0 */
#include "limit.h"

int other(int v);

int other(int v)
{
	return limit(v) * 1000;
}
