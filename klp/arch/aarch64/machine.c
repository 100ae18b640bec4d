/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A site is armed by four bytes that the kernel copies (invariant S1). Its memcpy stores four bytes as one word, but
 * with CPYP, CPYM, CPYE since Linux 6.13 where the processor has them (FEAT_MOPS), and of those no size of access is
 * promised.
 */
#include "klp/machine.h"

#include <errno.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/utsname.h>
#include <unistd.h>

#define KLP_HWCAP2_MOPS (1ull << 43)
#define KLP_PAGE 4096

int klp_machine_check(struct klp_error *e)
{
	long page = sysconf(_SC_PAGESIZE);
	unsigned major = 0, minor = 0;
	struct utsname u;

	if (page != KLP_PAGE)
		return klp_fail(e, ENOTSUP, KLP_UNSUPPORTED,
				"this kernel has pages of %ld bytes: klp's memory is laid out for %d", page, KLP_PAGE);
	if (!(getauxval(AT_HWCAP2) & KLP_HWCAP2_MOPS))
		return 0;
	if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2 || major > 6 || (major == 6 && minor >= 13))
		return klp_fail(
		    e, ENOTSUP, KLP_UNSUPPORTED,
		    "this kernel copies memory with instructions (FEAT_MOPS) that promise no single store of "
		    "four bytes, which a patch site needs");
	return 0;
}
