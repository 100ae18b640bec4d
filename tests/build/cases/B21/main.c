/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

struct connection {
	int id;
	char name[16];
};

static struct connection conn = { 1, "c" };

void probe(const char *input)
{
	(void)input;
	conn.id++;
	printf("%d %s\n", conn.id, conn.name);
}
