/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

__attribute__((noipa)) static int count(int n)
{
	int sum = 0;

	if (n > 'a') {
		static int calls = 100;

		sum += ++calls;
	}
	if (n > 'A') {
		static int calls = 3000;

		sum += ++calls;
	}
	{
		static int calls = 7;

		sum += ++calls;
	}
	return sum;
}

void probe(const char *input)
{
	printf("%d\n", count(*input));
}
