/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

struct ops {
	int limit;
};

static const struct ops low = { 32 };

struct conn {
	const struct ops *ops;
};

struct conn conn = { &low };

__attribute__((noinline)) int limit_of(const struct conn *c);

int limit_of(const struct conn *c)
{
	return c->ops->limit;
}

void probe(const char *input)
{
	(void)input;
	printf("%d\n", limit_of(&conn));
}
