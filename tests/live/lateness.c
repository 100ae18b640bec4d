/* SPDX-License-Identifier: Apache-2.0 */
/* For each line of standard input: by how many microseconds somebody on this machine was at most late since the last
 * line, because it did not run who wanted to (remote/common.h: watch_machine). */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "../remote/common.h"

int main(void)
{
	_Atomic uint64_t *worst = shared(sizeof(*worst));
	char line[64];

	watch_machine(worst);
	while (fgets(line, sizeof(line), stdin)) {
		printf("%" PRIu64 "\n", atomic_exchange(worst, 0) / 1000);
		fflush(stdout);
	}
	return 0;
}
