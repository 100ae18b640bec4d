/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include "check.h"

int other(int v);

int other(int v)
{
	return check(v) + 1;
}
