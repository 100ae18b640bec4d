/* SPDX-License-Identifier: Apache-2.0 */
/* The transient helper of klp's runtime, stepped with ptrace by a process of its own while klpctl uses it. */
#ifndef TEST_CROSSING_HELPER_H
#define TEST_CROSSING_HELPER_H

#include <stdint.h>
#include <sys/types.h>

struct helper_result {
	uint64_t steps, reliable; /* in the runtime's image; never reliable there */
};

/* From now on whatever helper the target has, until helper_end(). */
void helper_begin(pid_t target);
void helper_end(void);
struct helper_result helper_result(void);

#endif
