/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/written.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define KLP_PAGES 64u                 /* looked at in one read */
#define KLP_PAGE_PRESENT (1ull << 63) /* proc_pid_pagemap(5); seen without privilege */
#define KLP_PAGE_SWAPPED (1ull << 62) /* or on its way to another place */

/* What `count` pages hold, the first at `page`. Where that is not told, each may hold something. */
static void klp_pages(int fd, uint64_t page, size_t size, uint64_t *entry, size_t count)
{
	ssize_t n = fd < 0 ? -1 : pread(fd, entry, count * sizeof(*entry), (off_t)(page / size * sizeof(*entry)));

	for (size_t i = n < 0 ? 0 : (size_t)n / sizeof(*entry); i < count; i++)
		entry[i] = KLP_PAGE_PRESENT;
}

int klp_process_read_written(const struct klp_process *p, uint64_t addr, void *buf, size_t len, struct klp_error *e)
{
	const size_t size = (size_t)sysconf(_SC_PAGESIZE);
	const uint64_t end = addr + len;
	uint64_t entry[KLP_PAGES], from = addr; /* to be read from there on, up to the page that is looked at */
	char path[64];
	int rc = 0, fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", p->live_tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (uint64_t page = addr - addr % size; page < end && !rc; page += KLP_PAGES * size) {
		size_t count = (size_t)((end - page + size - 1) / size);

		if (count > KLP_PAGES)
			count = KLP_PAGES;
		klp_pages(fd, page, size, entry, count);
		for (size_t i = 0; i < count && !rc; i++) {
			uint64_t at = page + i * size;

			if (entry[i] & (KLP_PAGE_PRESENT | KLP_PAGE_SWAPPED))
				continue;
			if (at > from)
				rc = klp_process_read(p, from, (char *)buf + (from - addr), at - from, e);
			from = at + size;
		}
	}
	if (!rc && from < end)
		rc = klp_process_read(p, from, (char *)buf + (from - addr), end - from, e);
	if (fd >= 0)
		close(fd);
	return rc;
}
