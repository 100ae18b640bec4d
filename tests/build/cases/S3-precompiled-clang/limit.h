/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
static inline int limit(int v)
{
	return v > 100 ? 100 : v;
}
