/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

typedef int (*callback)(int v);

int answer(int v);
void store(void);
int is_stored(void);
int call_stored(int v);

void probe(const char *input)
{
	store();
	printf("%d %d\n", is_stored(), call_stored(*input));
}
