/* SPDX-License-Identifier: Apache-2.0 */
/* What the crossing test patches. */
#include <unistd.h>

#include "functions.h"

int answer(int x)
{
	return x * 10 + 1;
}

int deep(int n)
{
	return n ? deep(n - 1) + answer(n) : 1;
}

int pair(int x)
{
	return answer(x) + deep(2) + 1;
}

int inside(int fd)
{
	char c;

	return read(fd, &c, 1) == 1 ? 1 : -1;
}
