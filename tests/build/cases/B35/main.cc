/* SPDX-License-Identifier: Apache-2.0 */
#include <cstdio>
extern "C" {
#include "probe.h"
}

namespace app {
struct counter {
	int n;
	__attribute__((noinline)) int add(int v);
};

int counter::add(int v)
{
	n += v;
	return n;
}
}

static app::counter total;

void probe(const char *input)
{
	(void)input;
	printf("%d\n", total.add(2));
}
