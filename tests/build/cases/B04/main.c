/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

void tell(void);

void probe(const char *input)
{
	(void)input;
	tell();
}
