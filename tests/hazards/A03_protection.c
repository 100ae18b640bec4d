/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard A3: what klp writes into a target's data it writes as the target itself could. A guard page below a stack, or
 * a page that the program has made read-only, takes nothing and stays as it was; /proc/PID/mem would write to both.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "klp/process.h"
#include "tests/remote/common.h"

#define PAGE 4096u
#define PATTERN 0x5a

static const struct {
	const char *name;
	int prot;
} page[] = {{"a page of data", PROT_READ | PROT_WRITE}, {"a guard page", PROT_NONE}, {"a read-only page", PROT_READ}};
#define PAGES (sizeof(page) / sizeof(page[0]))

static void write_to(const struct klp_process *p, size_t i, uint8_t *at)
{
	static const char frame[] = "a frame of klp's";
	struct klp_error e = KLP_ERROR_INIT;
	char now[sizeof(frame)], before[sizeof(frame)];
	bool writable = page[i].prot & PROT_WRITE;
	int rc = klp_process_write(p, (uintptr_t)at, frame, sizeof(frame), &e);

	memset(before, PATTERN, sizeof(before));
	check(writable ? !rc : rc && e.reason == KLP_TARGET_MEMORY, "%s: writing gave %d %s", page[i].name, rc, e.text);
	check(!klp_process_read(p, (uintptr_t)at, now, sizeof(now), &e), "%s: %s", page[i].name, e.text);
	check(!memcmp(now, writable ? frame : before, sizeof(now)), "%s: %s", page[i].name,
	      writable ? "it was not written" : "it was written to");
}

int main(void)
{
	uint8_t *area = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_process p;
	pid_t target;

	memset(area, PATTERN, PAGES * PAGE);
	for (size_t i = 0; i < PAGES; i++)
		mprotect(area + i * PAGE, PAGE, page[i].prot);
	target = fork_bound();
	if (!target)
		for (;;)
			pause();
	check(!klp_process_open(target, &p, &e), "%s", e.text);
	for (size_t i = 0; i < PAGES; i++)
		write_to(&p, i, area + i * PAGE);
	klp_process_close(&p);
	finish(target);
	return check_end();
}
