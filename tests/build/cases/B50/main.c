/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include <string.h>

static void __attribute__((noinline)) copy(char *to, size_t size, const char *from)
{
	char local[64];

	snprintf(local, sizeof(local), "%s", from);
	local[strcspn(local, "\n")] = 0;
	strncpy(to, local, size - 1);
	to[size - 1] = 0;
}

void probe(const char *input)
{
	char text[32];

	copy(text, sizeof(text), input);
	printf("got %s\n", text);
}
