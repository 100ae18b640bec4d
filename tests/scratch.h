/* SPDX-License-Identifier: Apache-2.0 */
/* Names for mkstemp and mkdtemp, where TMPDIR says. */
#ifndef KLP_TESTS_SCRATCH_H
#define KLP_TESTS_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>

/* TMPDIR/klp-WHAT-XXXXXX, for the caller to free. */
static inline char *scratch_name(const char *what)
{
	const char *dir = getenv("TMPDIR");
	char *name;

	if (asprintf(&name, "%s/klp-%s-XXXXXX", dir && *dir ? dir : "/tmp", what) < 0)
		abort();
	return name;
}

#endif
