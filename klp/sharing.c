/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/sharing.h"

#include <linux/kcmp.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

pid_t klp_process_shares_memory(const struct klp_process *p)
{
	char path[64], line[256];
	int parent = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", p->pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f) && sscanf(line, "PPid: %d", &parent) != 1)
		;
	fclose(f);
	/* 0: its parent is in another pid namespace */
	if (parent <= 0 || syscall(SYS_kcmp, p->live_tid, parent, KCMP_VM, 0, 0))
		return 0;
	return parent;
}
