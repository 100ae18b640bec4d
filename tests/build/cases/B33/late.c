/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

void late(void);

#ifndef __clang__
#error the compiler is to be compared before this is compiled
#endif

void late(void)
{
	puts("late");
}
