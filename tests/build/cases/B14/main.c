/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <stdlib.h>

struct pair {
	int a, b;
};

/* .isra: only one member of a pair behind a pointer is needed; .constprop: the same argument always; .part: a quick test before a long body */
__attribute__((noinline)) static int second(const struct pair *p, int v)
{
	return p->b * v;
}

__attribute__((noinline)) static int scaled(int v, int factor)
{
	for (int i = 0; i < factor; i++)
		v = v * 3 + i;
	return v & 0xff;
}

static int checked(const struct pair *p, const char *text)
{
	if (!p)
		return -1;
	if (p->a > 1000) {
		fprintf(stdout, "out of range: %s %d\n", text, p->a);
		fprintf(stdout, "it is %d above\n", p->a - 1000);
		abort();
	}
	return p->a;
}

void probe(const char *input)
{
	struct pair p = { *input, *input + 1 };

	printf("%d %d %d %d\n", second(&p, *input), scaled(p.a, 4), scaled(p.b, 4), checked(&p, input) + checked(*input ? &p : NULL, input));
}
