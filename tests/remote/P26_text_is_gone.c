/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P26: the text that is to be written is unmapped between the look at it and the write. The kernel says of such a write
 * what it says where it forbids all of them (EIO); klp tells the two apart, since only a permission does not come by
 * itself (klpctl watch tries again).
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"

int main(void)
{
	static const uint8_t ret = 0xc3;
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_process p;
	struct klp_remote rem;
	void *here = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *gone = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid;
	int rc;

	if (geteuid())
		return TEST_SKIPPED;
	if (here == MAP_FAILED || gone == MAP_FAILED)
		return 1;
	pid = fork_bound();
	if (!pid) {
		munmap(gone, 4096);
		for (;;)
			pause();
	}
	sleep_ms(50);
	rc = cycle_start(pid, 2000, &p, &rem, &e);
	check(!rc, "start: %s %s", klp_reason_name(e.reason), e.text);
	if (rc)
		return check_end();
	rc = klp_remote_write_text(&rem, (uintptr_t)here, &ret, 1, &e);
	check(!rc, "text that is there: %s %s", klp_reason_name(e.reason), e.text);
	rc = klp_remote_write_text(&rem, (uintptr_t)gone, &ret, 1, &e);
	check(rc && e.reason == KLP_TARGET_MEMORY, "text that is gone: %d %s %s", rc, klp_reason_name(e.reason),
	      e.text);
	rc = klp_remote_stop(&rem, &e);
	if (!rc)
		rc = klp_remote_remove(&rem, 2000, &e);
	check(!rc, "end: %s %s", klp_reason_name(e.reason), e.text);
	klp_process_close(&p);
	finish(pid);
	return check_end();
}
