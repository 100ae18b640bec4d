/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
	return __real_malloc(size);
}
