/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

void tell(void);

void tell(void)
{
	puts("tell");
}
