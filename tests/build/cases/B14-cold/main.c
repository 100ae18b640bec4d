/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <stdlib.h>

__attribute__((noinline)) static int parse(const char *text)
{
	if (__builtin_expect(*text == '!', 0)) {
		printf("refused\n");
		fflush(stdout);
		if (text[1] == '!')
			abort();
		return -1;
	}
	return *text;
}

void probe(const char *input)
{
	int v = parse(input);

	if (v >= 0)
		printf("%d\n", v);
}
