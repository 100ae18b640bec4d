/* SPDX-License-Identifier: Apache-2.0 */
#include "target.h"

NOINLINE int aux_answer(int x)
{
	return x * 7 + 1;
}

NOINLINE int aux_exported(int x)
{
	return x * 3 + 1;
}

NOINLINE int aux_even(int n, int (*back)(int))
{
	return n == 0 ? 0 : back(n - 1);
}
