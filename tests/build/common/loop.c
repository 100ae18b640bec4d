/* SPDX-License-Identifier: Apache-2.0 */
/* A case's program answers every line of its input with one line: probe() is what the patch changes. */
#include <stdio.h>
#include "probe.h"

int main(void)
{
	char line[256];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin))
		probe(line);
	return 0;
}
