/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"
#include "other.h"

int number(void);
extern struct state state;

void probe(const char *input)
{
	(void)input;
	printf("%d\n", number());
}
