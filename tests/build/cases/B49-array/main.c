/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

struct list {
	char name[5];
	short used;
	int *values;
};

struct list list = {"abcd", 1, 0};

void probe(const char *input)
{
	(void)input;
	printf("%s %d\n", list.name, list.used);
}
