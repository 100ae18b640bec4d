/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

struct state {
	char kind;
	union {
		int number;
		float measure;
	} value;
	unsigned int on : 1;
};

struct state state = { 'a', { 7 }, 1 };

void probe(const char *input)
{
	(void)input;
	printf("%c %d\n", state.kind, state.value.number);
}
