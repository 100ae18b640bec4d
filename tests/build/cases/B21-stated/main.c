/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include <stdlib.h>

struct connection {
	int id;
	char name[16];
};

static struct connection *conn;

void probe(const char *input)
{
	(void)input;
	if (!conn && !(conn = calloc(1, sizeof(*conn))))
		return;
	conn->id++;
	printf("%d%s\n", conn->id, conn->name);
}
