/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proofs that no function being left is anywhere on a thread's stack (section 8 of the design). Private to klp/.
 *
 * Proof 1, of a blocked thread, disturbs nobody: how often it has run, the syscall file, a walk over a copy of the
 * stack, the syscall file again (identical and not "running"), how often it has run again (identical), in that order.
 * Equal counters alone would prove nothing on a kernel that counts only on the way out: a woken thread that runs in
 * user code shows none. Proof 2 is klp/door.h. Proof 3, of a running thread (klp/running.h), is a picture of it with
 * klp_prove_sample, or klp_remote_interrupt with klp_prove_registers as its look.
 */
#ifndef KLP_PROOF_H
#define KLP_PROOF_H

#include "klp/sample.h"
#include "klp/session.h"

struct klp_proof {
	enum klp_reason
	    verdict; /* KLP_OK: clean. KLP_ON_STACK, KLP_RUNNING, KLP_IN_CLONE or why the stack is not reliable */
	uint64_t
	    function; /* KLP_ON_STACK: an address in the innermost function being left; else where the walk failed */
	bool gone;    /* the thread ended, or will never run user code again */
	bool kernel_made;
	bool running;               /* it answered "running" */
	long call;                  /* klp_prove_blocked: the number of the system call that it waits in */
	struct klp_unw_trace trace; /* of the last walk */
};

/* ranges: what must not be on the stack. The ranges of klp's own text (klp_tables_build) always count. */
void klp_prove_blocked(struct klp_session *s, pid_t tid, const struct klp_range *range, size_t count,
		       struct klp_proof *out);
/* The same from registers of a stopped thread. */
void klp_prove_registers(struct klp_session *s, pid_t tid, const struct klp_unw_regs *regs, uint64_t thread_pointer,
			 const struct klp_range *range, size_t count, struct klp_proof *out);

/* The same from a picture of a running thread. */
void klp_prove_sample(struct klp_session *s, pid_t tid, const struct klp_sample *sample, const struct klp_range *range,
		      size_t count, struct klp_proof *out);

/* Thread pointer of a thread of glibc's, without stopping it: the TCB that holds its robust list. 0: unknown. */
uint64_t klp_thread_pointer(struct klp_session *s, pid_t tid);

#endif
