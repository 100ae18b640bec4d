/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include <stdlib.h>

void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size);

static int wrapped;

void *__wrap_malloc(size_t size)
{
	wrapped++;
	return __real_malloc(size);
}

void probe(const char *input)
{
	char *volatile p = malloc(16);

	(void)input;
	free(p);
	printf("%d\n", wrapped);
}
