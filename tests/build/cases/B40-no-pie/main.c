/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

__attribute__((noinline)) static const char *answer(void)
{
	return "old answer";
}

void probe(const char *input)
{
	(void)input;
	puts(answer());
}
