/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live tests' target and a module for it, as a test's arguments: TARGET MODULE. A test that replaces
 * klp_remote_interrupt has one here that interrupts nobody, so that running threads have no other way but the door.
 */
#ifndef KLP_TESTS_HAZARDS_ON_TARGET_H
#define KLP_TESTS_HAZARDS_ON_TARGET_H

#include "klp/include/klp/klp.h"
#include "tests/remote/common.h"

struct on_target {
	pid_t pid;
	int in; /* what is written there the target reads */
	struct klp_module *module;
};

/* 0, or the exit status of a test that cannot go on. */
int on_target_begin(int argc, char **argv, struct on_target *t);
/* Ends the target; the test's exit status. */
int on_target_end(struct on_target *t);

#endif
