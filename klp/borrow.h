/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Borrowing a thread (section 7): it is stopped, told to run one or two system calls, and goes home by itself through a
 * signal frame that is complete before it is redirected.
 */
#ifndef KLP_BORROW_H
#define KLP_BORROW_H

#include "klp/stop.h"

struct klp_borrow_call {
	long nr;
	uint64_t arg[6];
};

/* What the borrowed thread taught about threads of this process. */
struct klp_borrowed {
	pid_t tid;
	uint64_t thread_pointer;
};

/* Chooses a thread, waiting up to wait_ms for one that can be borrowed without harm, and has it make the calls (at most
 * 2) by gadgets in the target's own text, frames on its own stack. It does not wait for the calls: the caller sees
 * their effect. */
int klp_borrow_calls(struct klp_remote *r, const struct klp_borrow_call *call, size_t count, unsigned wait_ms,
		     struct klp_borrowed *who, struct klp_error *e);
/* Has one run klp_rt_borrow of the image, frames in the control block. */
int klp_borrow_helper(struct klp_remote *r, unsigned wait_ms, struct klp_borrowed *who, struct klp_error *e);

/* What a thread must be like that runs code of the program, and what it is to run. All but `look` are called on the
 * tracing thread. */
struct klp_borrow_visit {
	/* Without a stop: whether it is worth one. */
	bool (*look)(void *ctx, pid_t tid);
	/* Stopped: whether it is fit. Only klp_process_read and writes of the control block. timeout: where its
	 * relative timeout is (klp_rt_callback.timeout, .timeout_unit), 0: it has none. */
	bool (*fit)(void *ctx, const struct klp_stop *st, pid_t ns_tid, uint64_t timeout, uint32_t unit);
	/* Why a thread that was stopped is not taken, where `fit` was not asked. */
	void (*says)(void *ctx, pid_t tid, const char *why);
	/* klp_stop_chain.works */
	int (*works)(void *ctx);
	void *ctx;
	uint64_t room; /* bytes of its stack below the red zone */
};
/* Whether there are so many bytes of its own stack below a thread's red zone, or can be. */
bool klp_borrow_room(const struct klp_process *p, uint64_t sp, uint64_t thread_pointer, uint64_t room);
/* Has one run klp_rt_callback of the image on its own stack. Returns when it is at home again, or was left to itself.
 * -EAGAIN/KLP_NO_BORROW after wait_ms. */
int klp_borrow_visit(struct klp_remote *r, const struct klp_borrow_visit *v, unsigned wait_ms, struct klp_borrowed *who,
		     struct klp_error *e);

#endif
