/* SPDX-License-Identifier: Apache-2.0 */
/* For the oracle: another process's memory, with few system calls per step. */
#ifndef TEST_UNWIND_MEMORY_H
#define TEST_UNWIND_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MEMORY_PAGE 4096u
#define MEMORY_TEXT_PAGES 256u /* a power of two */
#define MEMORY_STACK_PAGES 64u

struct memory_range {
	uint64_t start, end;
};

struct memory {
	pid_t pid;
	/* What nobody can write, until memory_forget(). */
	struct memory_range *fixed;
	size_t fixed_count;
	uint64_t text_at[MEMORY_TEXT_PAGES]; /* 0: empty */
	uint8_t (*text)[MEMORY_PAGE];
	/* Since the last memory_move(): the stack upwards from below the stack pointer, and single pages. */
	uint64_t sp, window_at;
	size_t window_len;
	bool window_tried;
	uint8_t window[MEMORY_PAGE];
	uint64_t page_at[MEMORY_STACK_PAGES];
	size_t pages;
	uint8_t (*page)[MEMORY_PAGE];
};

void memory_open(struct memory *m, pid_t pid);
void memory_close(struct memory *m);
/* The target has changed its mappings, or its text: fixed ranges (taken over; NULL: none) from now on. */
void memory_forget(struct memory *m, struct memory_range *fixed, size_t count);
/* The target has run. */
static inline void memory_move(struct memory *m, pid_t tid, uint64_t sp)
{
	m->pid = tid;
	m->sp = sp;
	m->window_tried = false;
	m->window_len = 0;
	m->pages = 0;
}
/* ctx: struct memory *. 0 or -errno. */
int memory_read(void *ctx, uint64_t addr, void *buf, size_t len);

#endif
