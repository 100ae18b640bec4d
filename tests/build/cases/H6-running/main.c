/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#ifdef __riscv
#define SITE 34, 32
#else
#define SITE 19, 16
#endif

static int calls;

/* The function is patchable by its attribute. */
__attribute__((patchable_function_entry(SITE))) void probe(const char *input)
{
	(void)input;
	printf("call %d\n", ++calls);
}
