/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests: a table of a live process, from its maps and its memory. */
#ifndef TEST_UNWIND_SPACE_H
#define TEST_UNWIND_SPACE_H

#include <sys/types.h>

#include "unwind/unwind.h"

struct test_space {
	struct klp_unw_space *space;
	uint64_t libc_start, libc_end; /* text */
	uint64_t exe_start, exe_end;
	uint64_t entry, exe_bias;
	uint64_t start_stack;
	unsigned objects;
};

int test_read(void *ctx, uint64_t addr, void *buf, size_t len); /* ctx: pid_t * */
/* break_at: an address in the executable's .eh_frame copy is not touched; mutate: nonzero damages the rows of one
 * object */
void test_space_build(pid_t pid, struct test_space *out, bool mutate);
void test_die(const char *what) __attribute__((noreturn));

#endif
