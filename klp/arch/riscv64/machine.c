/* SPDX-License-Identifier: Apache-2.0 */
/* A site is armed by single bytes, which every kernel stores whole; so it is its page size alone that is asked for. */
#include "klp/machine.h"

#include <errno.h>
#include <unistd.h>

#define KLP_PAGE 4096

int klp_machine_check(struct klp_error *e)
{
	long page = sysconf(_SC_PAGESIZE);

	if (page != KLP_PAGE)
		return klp_fail(e, ENOTSUP, KLP_UNSUPPORTED,
				"this kernel has pages of %ld bytes: klp's memory is laid out for %d", page, KLP_PAGE);
	return 0;
}
