/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests: a table of a live process, from its maps and its memory. */
#ifndef TEST_UNWIND_SPACE_H
#define TEST_UNWIND_SPACE_H

#include <sys/types.h>

#include "tests/unwind/memory.h"
#include "unwind/unwind.h"

struct test_space {
	struct klp_unw_space *space;
	uint64_t libc_start, libc_end; /* text */
	uint64_t exe_start, exe_end;
	uint64_t entry, exe_bias;
	uint64_t start_stack;
	unsigned objects;
	struct memory_range *fixed; /* text that nobody can write, in order */
	size_t fixed_count;
	uint64_t signature;
};

int test_read(void *ctx, uint64_t addr, void *buf, size_t len); /* ctx: pid_t * */
/* mutate: damages the rows of the executable. */
void test_space_build(pid_t pid, struct test_space *out, bool mutate);
void test_space_free(struct test_space *s);
/* Changes when an object comes or goes. */
uint64_t test_space_signature(pid_t pid);
void test_die(const char *what) __attribute__((noreturn));

#endif
