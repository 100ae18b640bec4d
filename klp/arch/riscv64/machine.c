/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A site is armed by single bytes, which every kernel stores whole. But behind each of them every hart has to execute
 * FENCE.I, also one that a thread of the process comes to in this moment; that is what the kernel's core sync is for,
 * which it has for riscv since Linux 6.10. riscv_flush_icache(2), which is older, does not order what it marks before
 * what it reads (docs/riscv64.md).
 */
#include "klp/machine.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KLP_PAGE 4096
#define KLP_MEMBARRIER_QUERY 0
#define KLP_SYNC_CORE (32u | 64u) /* MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, and its registration */

int klp_machine_check(struct klp_error *e)
{
	long page = sysconf(_SC_PAGESIZE), commands = syscall(SYS_membarrier, KLP_MEMBARRIER_QUERY, 0, 0);

	if (page != KLP_PAGE)
		return klp_fail(e, ENOTSUP, KLP_UNSUPPORTED,
				"this kernel has pages of %ld bytes: klp's memory is laid out for %d", page, KLP_PAGE);
	if (commands < 0 || ((unsigned long)commands & KLP_SYNC_CORE) != KLP_SYNC_CORE)
		return klp_fail(e, ENOTSUP, KLP_UNSUPPORTED,
				"this kernel cannot synchronise cores behind a store to code (membarrier SYNC_CORE; "
				"on riscv64 since Linux 6.10)");
	return 0;
}
