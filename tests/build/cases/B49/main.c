/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

enum mode { MODE_SLOW, MODE_FAST };

struct state {
	enum mode mode;
};

static struct state state = { MODE_SLOW };

void probe(const char *input)
{
	if (*input == 'f')
		state.mode = MODE_FAST;
	printf("mode %d\n", (int)state.mode);
}
