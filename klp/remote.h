/* SPDX-License-Identifier: Apache-2.0 */
/*
 * klp inside the target: the core mapping, the borrowed thread that makes it, the transient helper that does the rest,
 * and the interruption of a running thread for a proof (sections 7 and 8 of the design; invariants P1, P2, P3).
 */
#ifndef KLP_REMOTE_H
#define KLP_REMOTE_H

#include "klp/process.h"
#include "klp/runtime/rt.h"
#include "unwind/unwind.h"

struct klp_remote {
	struct klp_process *p;
	uint64_t image, cb;        /* addresses in the target; 0: no runtime there */
	struct klp_rt_image hdr;   /* of the image in the target */
	bool adopted;              /* the block was made by another process: a fork's child */
	pid_t helper;              /* tid in the caller's namespace, 0 none */
	bool removing;             /* a killed tool began to take the core out */
	bool escorting, suspended; /* the calling thread is the helper's tracer, by klp/escort.h; without its filters */
	pid_t escorted;            /* the helper that is so traced */
	pid_t permitted;           /* the helper whose filters were evaluated (klp/permit.h), and how many they were */
	unsigned permitted_filters;
	int64_t robust_delta; /* robust list head - thread pointer; valid if robust_known */
	bool robust_known;
	unsigned threads_stopped; /* by this tool, in this run */
	uint64_t longest_stop_ns;
	uint64_t early_returns;
	void *priv;
};

/* Looks for a runtime in the target without stopping anybody. 0 and r->image = 0 if there is none. Checks magic,
 * addresses, size, build (KLP_FOREIGN_RUNTIME), everything hostile. A mapping that a killed tool left without contents
 * is recognised and reused by klp_remote_start. */
int klp_remote_find(struct klp_process *p, struct klp_remote *r, struct klp_error *e);

/* Makes sure that the core is mapped and the helper runs: borrows a thread if needed (choosing which and when, P2).
 * wait_ms bounds the search for a thread that can be borrowed without harm. */
int klp_remote_start(struct klp_remote *r, unsigned wait_ms, struct klp_error *e);

/* Runs a list of ops in the helper and copies the results back. At most KLP_MAX_OPS. Returns 0 if all were executed
 * (look at result for each one's errno), or -errno. Restarts the helper if it has timed out. Once this returns, or the
 * tool dies, every op that was begun is done. */
int klp_remote_run(struct klp_remote *r, struct klp_rt_op *ops, size_t count, struct klp_error *e);
/* 1: a killed tool has posted a request, and it is not done yet: any run lets it be done first. 0: none; -errno. */
int klp_remote_owed(struct klp_remote *r, struct klp_error *e);
/* Keeps the helper from timing out (it leaves 2 s after the last request). */
int klp_remote_ping(struct klp_remote *r, struct klp_error *e);

/* Convenience over klp_remote_run: */
int klp_remote_sync(struct klp_remote *r, struct klp_error *e);
/* Maps size bytes r-x/r--/rw- at a fixed free address, recorded in the control block by the helper; returns the
 * record's index. */
int klp_remote_map(struct klp_remote *r, uint64_t addr, uint64_t size, uint32_t prot, uint32_t owner,
		   struct klp_error *e);
int klp_remote_unmap(struct klp_remote *r, unsigned map_index, struct klp_error *e);
/* Writes text while the helper is seized, so that hardened kernels permit it and nobody else is touched. */
int klp_remote_write_text(struct klp_remote *r, uint64_t addr, const void *buf, size_t len, struct klp_error *e);

/* Ends the helper and waits until its tid is gone. The core stays. */
int klp_remote_stop(struct klp_remote *r, struct klp_error *e);
/* Unmaps the core: only when no site is armed, nothing else is mapped and no thread can be inside it. Borrows a thread
 * for the last munmap. */
int klp_remote_remove(struct klp_remote *r, unsigned wait_ms, struct klp_error *e);

/*
 * Stops one thread that was seen running for its own inspection (proof 3), calls `look` with its registers, lets it go
 * on. `look` does no I/O and takes no page fault but klp_process_read of buffers that it has touched. If the stop finds
 * the thread in a call, its restart is repaired (P2). 1: look was called; 0: the thread was not in a state to be looked
 * at (blocked after all; nothing lost); -errno.
 */
typedef void (*klp_look_fn)(void *ctx, pid_t tid, const struct klp_unw_regs *regs, uint64_t thread_pointer);
int klp_remote_interrupt(struct klp_remote *r, pid_t tid, klp_look_fn look, void *ctx, struct klp_error *e);

/* Whether a thread that a callback was given to is in klp's code still: every signal is blocked there, and was not
 * before. -1: it is gone. */
int klp_remote_visits(const struct klp_remote *r, uint32_t ns_tid, uint64_t old_mask);

#endif
