/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unwind/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "tests/unwind/space.h"

#define MEMORY_BELOW 256u /* bytes below the stack pointer that a walk looks at: the red zone */

static ssize_t memory_fetch(const struct memory *m, uint64_t addr, void *buf, size_t len)
{
	struct iovec l = {buf, len}, r = {(void *)(uintptr_t)addr, len};

	return process_vm_readv(m->pid, &l, 1, &r, 1, 0);
}

void memory_open(struct memory *m, pid_t pid)
{
	memset(m, 0, sizeof(*m));
	m->pid = pid;
	m->text = malloc(MEMORY_TEXT_PAGES * sizeof(*m->text));
	m->page = malloc(MEMORY_STACK_PAGES * sizeof(*m->page));
	if (!m->text || !m->page)
		test_die("memory");
}

void memory_close(struct memory *m)
{
	free(m->fixed);
	free(m->text);
	free(m->page);
	memset(m, 0, sizeof(*m));
}

void memory_forget(struct memory *m, struct memory_range *fixed, size_t count)
{
	free(m->fixed);
	m->fixed = fixed;
	m->fixed_count = count;
	memset(m->text_at, 0, sizeof(m->text_at));
}

static bool memory_is_fixed(const struct memory *m, uint64_t page)
{
	size_t low = 0, high = m->fixed_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (page >= m->fixed[mid].end)
			low = mid + 1;
		else
			high = mid;
	}
	return low < m->fixed_count && page >= m->fixed[low].start;
}

/* The bytes of one page, or NULL. */
static const uint8_t *memory_page(struct memory *m, uint64_t page)
{
	size_t k = (page / MEMORY_PAGE) % MEMORY_TEXT_PAGES;

	if (page && m->text_at[k] == page)
		return m->text[k];
	if (page && memory_is_fixed(m, page)) {
		m->text_at[k] = 0;
		if (memory_fetch(m, page, m->text[k], MEMORY_PAGE) != MEMORY_PAGE)
			return NULL;
		m->text_at[k] = page;
		return m->text[k];
	}
	for (size_t i = 0; i < m->pages; i++)
		if (m->page_at[i] == page)
			return m->page[i];
	if (m->pages == MEMORY_STACK_PAGES || memory_fetch(m, page, m->page[m->pages], MEMORY_PAGE) != MEMORY_PAGE)
		return NULL;
	m->page_at[m->pages] = page;
	return m->page[m->pages++];
}

static bool memory_in_window(struct memory *m, uint64_t addr, size_t len)
{
	uint64_t from = m->sp - MEMORY_BELOW;

	if (addr < from || addr - from > MEMORY_PAGE - len)
		return false;
	if (!m->window_tried) {
		ssize_t n = memory_fetch(m, from, m->window, MEMORY_PAGE);

		m->window_tried = true;
		m->window_at = from;
		m->window_len = n > 0 ? (size_t)n : 0;
	}
	return addr - from + len <= m->window_len;
}

int memory_read(void *ctx, uint64_t addr, void *buf, size_t len)
{
	struct memory *m = ctx;
	uint64_t page = addr & ~(uint64_t)(MEMORY_PAGE - 1);
	const uint8_t *bytes;
	ssize_t n;

	if (len <= MEMORY_PAGE && memory_in_window(m, addr, len)) {
		memcpy(buf, m->window + (addr - m->window_at), len);
		return 0;
	}
	if (addr - page + len <= MEMORY_PAGE) {
		bytes = memory_page(m, page);
		if (bytes) {
			memcpy(buf, bytes + (addr - page), len);
			return 0;
		}
	}
	n = memory_fetch(m, addr, buf, len);
	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EFAULT;
}
