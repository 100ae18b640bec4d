/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

typedef int number;
typedef number count;

struct state {
	char kind;
	count number;
	long after;
};

struct state state;

void probe(const char *input)
{
	(void)input;
	printf("%d %d %ld\n", state.kind, (int)state.number, state.after);
}
