/* SPDX-License-Identifier: Apache-2.0 */
#include "other.h"

struct state state = { 'a', 1 };

int number(void);

int number(void)
{
	return state.number++;
}
