/* SPDX-License-Identifier: Apache-2.0 */
#include "limits_of.h"

int other(void);

int other(void)
{
	return MAXIMUM * 2;
}
