/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

void probe(const char *input)
{
	(void)input;
#ifdef __s390x__
	puts("mainframe");
#else
	puts("here");
#endif
}
