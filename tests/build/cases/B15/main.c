/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

struct handler {
	const char *name;
	int (*run)(int v);
};

static int run_small(int v)
{
	return v + 1;
}

static int run_big(int v)
{
	return v + 1000;
}

static struct handler handlers[] = { { "small", run_small }, { "big", run_big } };

void probe(const char *input)
{
	struct handler *h = &handlers[*input == 'b'];

	printf("%s %d\n", h->name, h->run(1));
}
