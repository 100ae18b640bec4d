/* SPDX-License-Identifier: Apache-2.0 */
#include "clip.h"

int other(int v);

int other(int v)
{
	return clip<90>(v + 1);
}
