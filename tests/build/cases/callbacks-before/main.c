/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

int limit = 10;

void probe(const char *input)
{
	(void)input;
	printf("%d\n", limit);
}
#include <klp/patch.h>
static int prepare(void)
{
	return 0;
}
KLP_PRE_PATCH(prepare);
