/* SPDX-License-Identifier: Apache-2.0 */
/* For the oracle: the unwinder's answers beside the shadow stack, and what they come to. */
#ifndef TEST_UNWIND_VERDICT_H
#define TEST_UNWIND_VERDICT_H

#include "tests/unwind/memory.h"
#include "tests/unwind/shadow.h"
#include "unwind/unwind.h"

struct verdicts {
	uint64_t steps, reliable, wrong;
	uint64_t count[KLP_REASON_COUNT];
	uint64_t blocked; /* reliable with the stack pointer and the PC alone, as of a thread in a system call */
};

/* A thread's own stack, as the engine describes it: main_high is where the process's began, tp the thread pointer. */
struct verdict_thread {
	bool main_thread;
	uint64_t main_high, tp, tls;
};

/* Asks twice: with all registers, and with those that are known of a blocked thread. Says the first few that are wrong.
 */
enum klp_reason verdict_ask(struct verdicts *v, const struct klp_unw_space *space, const struct verdict_thread *th,
			    const struct klp_unw_regs *regs, const struct shadow *s, struct memory *m);

/* What was found, in words. Returns the share that is reliable, in percent. */
double verdict_print(const struct verdicts *v);
/* The same as one line of a table: steps, reliable %, reliable % of the blocked, wrong, reasons. */
void verdict_row(const struct verdicts *v, const char *name, double seconds);

#endif
