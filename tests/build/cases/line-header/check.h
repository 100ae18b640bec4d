/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHECK_H
#define CHECK_H
#include <assert.h>

static inline int check(int v)
{
	assert(v != 77);
	return __LINE__ + v;
}

#endif
