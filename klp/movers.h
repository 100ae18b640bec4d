/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of the target as one run of a transition sees them: who is there, each one's entry in the thread table,
 * and what is known of it. Private to klp/.
 */
#ifndef KLP_MOVERS_H
#define KLP_MOVERS_H

#include "klp/door.h"
#include "klp/plan.h"
#include "klp/running.h"
#include "klp/session.h"

/* One thread of the target as this run of the tool sees it. */
struct klp_mover {
	pid_t tid;
	uint32_t ns_tid;
	uint32_t index; /* its entry in the thread table */
	bool listed, moved, candidate;
	bool gone;   /* moved because it has ended: its entry is settled by klp_entries_settle */
	bool outran; /* the last look came to nothing because it ran meanwhile: the next one is made in haste */
	uint64_t since;
	struct klp_running running;
	struct klp_rt_thread entry; /* as read before the proof; its count is what the verdict names */
	enum klp_reason reason;
	uint64_t function;
	struct klp_guest guest; /* proof 2 */
};

struct klp_mover_list {
	struct klp_mover *m;
	size_t count, room;
};

/* One run of a tool on the transition in flight. */
struct klp_run {
	struct klp_session *s;
	struct klp_plan plan;
	struct klp_mover_list list;
	struct klp_proof *proof;
	struct klp_rt_op *op;     /* KLP_MAX_OPS of them */
	struct klp_mover *looked; /* proof 3: whom the look looks at */
	uint64_t began_ns;
	unsigned turn;   /* whom klp_door_wait invites first */
	bool *passed_on; /* klp_door_passed_on, NULL until it is needed */
};

/* Lists the threads and gives each new one an entry. */
int klp_movers_list(struct klp_run *run, struct klp_error *e);
/* No place in the thread table: -EAGAIN with the sentence that says what to do. */
int klp_movers_full(const struct klp_run *run, struct klp_error *e);

/*
 * Reads the entries of up to KLP_MAX_OPS threads. All marks first, by a call of their own: a dispatch that was told an
 * older word stores the state and then takes its mark away, so a state that is read behind a mark of 0 is final as far
 * as that word goes.
 */
int klp_movers_read(struct klp_run *run, struct klp_mover *const *m, size_t count, struct klp_error *e);
/* An entry, as read, says that its thread is in the universe that the transition leads to. */
bool klp_entry_arrived(const struct klp_session *s, const struct klp_rt_thread *t);

uint64_t klp_thread_addr(const struct klp_session *s, uint32_t index);

static inline uint64_t klp_cb_addr(const struct klp_session *s, size_t offset)
{
	return s->r.cb + offset;
}

#endif
