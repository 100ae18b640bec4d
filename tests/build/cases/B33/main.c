/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

void late(void);

void probe(const char *input)
{
	(void)input;
	late();
}
