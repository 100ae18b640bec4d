/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/adopt.h"

#include <errno.h>
#include <stdlib.h>

#include "klp/clock.h"
#include "klp/core.h"
#include "klp/movers.h"
#include "klp/proof.h"

#define KLP_ADOPT_LOOK_NS 1000000ull

/* The thread table, and in it the entry of the thread that forked: its own, and its parent's. */
struct klp_inherited {
	struct klp_rt_thread *table;
	uint64_t tp;
	const struct klp_rt_thread *own, *parent; /* NULL: there is none */
};

static int klp_inherited_read(struct klp_session *s, struct klp_inherited *h, struct klp_error *e)
{
	int rc = klp_process_read(&s->p, klp_thread_addr(s, 0), h->table, KLP_MAX_THREADS * sizeof(*h->table), e);

	h->own = h->parent = NULL;
	for (size_t i = 0; i < KLP_MAX_THREADS && !rc; i++) {
		const struct klp_rt_thread *t = &h->table[i];

		if (t->tid == (uint32_t)s->p.ns_pid)
			h->own = t;
		/* The last binding: stacks are used again. */
		if (t->tid && t->tp == h->tp && (!h->parent || t->bound > h->parent->bound))
			h->parent = t;
	}
	return rc;
}

/* It has dispatched in the child: its entry is bound, and the block names the child. */
static bool klp_has_registered(const struct klp_session *s, const struct klp_inherited *h)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint32_t pid = 0;

	return h->own && h->own == h->parent &&
	       !klp_process_read(&s->p, klp_cb_at(&s->r, offsetof(struct klp_rt_cb, pid)), &pid, sizeof(pid),
				 &ignored) &&
	       pid == (uint32_t)s->p.ns_pid;
}

/* A verdict that was in force for the parent's thread when it forked, and that its copy would apply. */
static int klp_void_verdict(struct klp_session *s, const struct klp_inherited *h, const struct klp_rt_thread *t,
			    struct klp_error *e)
{
	const uint64_t none = 0;

	return t ? klp_process_write(
		       &s->p, klp_thread_addr(s, (uint32_t)(t - h->table)) + offsetof(struct klp_rt_thread, verdict),
		       &none, sizeof(none), e)
		 : 0;
}

/* Now, in this moment, it is not in klp's own code: it waits in a call that another code made. */
static bool klp_is_outside(const struct klp_session *s)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_syscall call;

	return !klp_task_syscall(&s->p, s->p.pid, &call, &ignored) && !call.running && call.nr >= 0 && call.pc &&
	       (call.pc < s->r.image || call.pc >= s->r.image + KLP_RT_TEXT_SIZE);
}

static int klp_adopt_thread(struct klp_session *s, struct klp_inherited *h, struct klp_error *e)
{
	uint64_t until = klp_clock_now() + (uint64_t)s->opt.timeout_ms * 1000000ull;
	uint32_t state = KLP_TR_ID(s->cb->transition) << 1;
	struct klp_rt_op op;
	int rc;

	/* 1. From here on nothing but what it does already changes the entry that it inherits from. */
	rc = klp_inherited_read(s, h, e);
	if (!rc)
		rc = klp_void_verdict(s, h, h->parent, e);
	if (!rc)
		rc = klp_void_verdict(s, h, h->own, e);
	/* 2. And behind this, nothing any more. */
	while (!rc && !klp_has_registered(s, h) && !klp_is_outside(s)) {
		if (klp_clock_now() > until)
			return klp_fail(e, EAGAIN, KLP_PENDING,
					"process %d is the child of a fork during a transition, and its first thread "
					"has not been seen waiting in a system call",
					s->p.pid);
		klp_clock_sleep(KLP_ADOPT_LOOK_NS);
		rc = klp_inherited_read(s, h, e);
	}
	if (!rc)
		rc = klp_inherited_read(s, h, e);
	if (rc || klp_has_registered(s, h))
		return rc;
	/* 3. The thread itself can store nothing else meanwhile. What is there under its tid is of a task that had the
	 * number before, or of this transition's last attempt. */
	if (h->parent && h->parent->state >> 1 == (state >> 1 & 0x7fffffffu))
		state = h->parent->state;
	op = (struct klp_rt_op){.code = KLP_OP_INSERT, .a = {(uint32_t)s->p.ns_pid, state, 1}};
	rc = klp_remote_run(&s->r, &op, 1, e);
	if (!rc && op.result < 0)
		rc = klp_fail(e, EAGAIN, KLP_PENDING, "the thread table of process %d is full", s->p.pid);
	return rc;
}

int klp_adopt(struct klp_session *s, struct klp_error *e)
{
	struct klp_inherited h = {.tp = klp_thread_pointer(s, s->p.pid)};
	struct klp_task_info info = {.state = 'Z'};
	int rc = 0;

	if (KLP_TR_ACTIVE(s->cb->transition))
		rc = klp_task_info(&s->p, s->p.pid, &info, e);
	if (rc)
		return rc;
	/* A thread that is no more calls nothing; the others were born in the child. */
	if (info.state != 'Z') {
		if (!h.tp)
			return klp_fail(e, EAGAIN, KLP_PENDING,
					"process %d is the child of a fork during a transition, and who its first "
					"thread was in its parent is not known: no C library's thread pointer",
					s->p.pid);
		h.table = malloc(KLP_MAX_THREADS * sizeof(*h.table));
		if (!h.table)
			return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the thread table");
		rc = klp_adopt_thread(s, &h, e);
		free(h.table);
	}
	return rc ? rc : klp_core_own(&s->r, e);
}
