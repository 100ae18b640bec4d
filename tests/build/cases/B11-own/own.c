/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

int access(const char *name, int n, const char *const *all);

const char *const *kept;

int access(const char *name, int n, const char *const *all)
{
	kept = all;
	return printf("%s %s\n", name, kept[3 - n]);
}
