/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

static int calls;

/* The function is patchable by its attribute. */
__attribute__((patchable_function_entry(19, 16))) void probe(const char *input)
{
	(void)input;
	printf("call %d\n", ++calls);
}
