/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a thread's seccomp filters allow exactly the system calls that klp makes in the target (hazard A4). The
 * thread is stopped by the caller, which is its tracer (PTRACE_SECCOMP_GET_FILTER, ptrace(2)). Private to klp/.
 */
#ifndef KLP_SECCOMP_H
#define KLP_SECCOMP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "klp/include/klp/error.h"

enum klp_seccomp_calls {
	KLP_SECCOMP_ALL,    /* that a borrowed thread and the helper always make */
	KLP_SECCOMP_EXIT,   /* the helper's last */
	KLP_SECCOMP_SHADOW, /* for modules with shadow variables */
	KLP_SECCOMP_CLAIM,  /* by klp_core_claim */
};

/* 0, or -errno with KLP_SECCOMP: one of them is not allowed, or the filters cannot be read. */
int klp_seccomp_check(pid_t tid, enum klp_seccomp_calls set, struct klp_error *e);

/* A system call in which a thread with every signal blocked waits for ever, and which is allowed: its number and
 * arguments. `word` is the address of a 32-bit 0 in the target that nobody changes. false: there is none. */
bool klp_seccomp_waits(pid_t tid, uint64_t word, uint64_t call[7]);

#endif
