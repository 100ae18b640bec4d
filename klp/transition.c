/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/transition.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "klp/clock.h"
#include "klp/core.h"
#include "klp/door.h"
#include "klp/entries.h"
#include "klp/gone.h"
#include "klp/places.h"
#include "klp/rearm.h"
#include "klp/sharing.h"
#include "klp/sweep.h"
#include "klp/symfile.h"

#define KLP_SWEEP_FIRST_NS 200000ull /* pause before the second sweep; doubles */
#define KLP_SWEEP_MAX_NS 20000000ull
#define KLP_SWEEP_RUNNING_NS 6000000ull /* the longest pause while a thread is sampled as running */
#define KLP_DOOR_AFTER_NS \
	100000000ull /* first the places where threads wait by themselves; then they are met at the door */
#define KLP_DOOR_WHOLE_NS 1000000000ull /* each pause wholly for so long, then a part of it */
#define KLP_DOOR_PART 4u
#define KLP_REARM_MIN_MS 100u /* for what another tracer put back, even at the end of the time */

struct klp_patch *klp_transition_patch(struct klp_session *s)
{
	if (!s->cb || !KLP_TR_ACTIVE(s->cb->transition))
		return NULL;
	for (size_t i = 0; i < s->patch_count; i++)
		if (s->patch[i].index + 1 == s->cb->transition_patch)
			return &s->patch[i];
	return NULL;
}

const char *klp_function_name(const struct klp_session *s, uint64_t addr, char *buf, size_t len)
{
	for (size_t i = 0; i < s->patch_count; i++) {
		const struct klp_patch *p = &s->patch[i];
		bool there = p->has_meta && klp_patch_object_is_there(s, p);
		char own[512];
		uint64_t best = 0;

		if (klp_symfile_function(s, p, addr, own, sizeof(own))) {
			snprintf(buf, len, "%s [%s]", own, p->rec.name);
			return buf;
		}

		for (size_t k = 0; p->function && k < p->rec.function_count; k++) {
			const struct klp_module_function *fn = klp_patch_function(p, k);

			/* Where an object was that has been closed, something else may be: a patch's module, too. */
			for (size_t r = 0; there && r < fn->range_count; r++) {
				if (addr - p->rec.bias >= fn->range[r].start && addr - p->rec.bias < fn->range[r].end) {
					snprintf(buf, len, "%s", fn->name);
					return buf;
				}
			}
			if (addr >= p->rec.text && addr - p->rec.text < p->rec.text_len &&
			    p->function[2 * k + 1] <= addr && p->function[2 * k + 1] > best) {
				best = p->function[2 * k + 1];
				snprintf(buf, len, "%s [%s]", fn->name, p->rec.name);
			}
		}
		if (best)
			return buf;
	}
	snprintf(buf, len, "0x%" PRIx64, addr);
	return buf;
}

int klp_transition_ranges(struct klp_session *s, struct klp_patch *p, enum klp_transition_kind kind, unsigned leaving,
			  struct klp_range **range, size_t *count, struct klp_error *e)
{
	struct klp_plan plan;
	int rc = klp_plan_make(s, p, kind, &plan, e);

	if (rc)
		return rc;
	*range = plan.leave[leaving];
	*count = plan.leave_count[leaving];
	plan.leave[leaving] = NULL;
	klp_plan_free(&plan);
	return 0;
}

/*
 * A thread need not be the C library's. Dispatch would read where its control block would be, and crash, or take it for
 * the thread whose thread pointer it has.
 */
static int klp_transition_identities(struct klp_session *s, struct klp_error *e)
{
	const int32_t ask = INT32_MIN;

	if (s->cb->tid_offset == ask || klp_core_tids_hold(&s->r, s->cb->tid_offset))
		return 0;
	return klp_session_write_cb(s, offsetof(struct klp_rt_cb, tid_offset), &ask, sizeof(ask), e);
}

int klp_transition_start(struct klp_session *s, struct klp_patch *p, enum klp_transition_kind kind, struct klp_error *e)
{
	uint32_t id = s->cb->next_id, generation = s->cb->next_generation, next[2], about[2];
	struct klp_plan plan;
	struct klp_rt_op *op;
	struct timespec now;
	uint64_t word, since;
	size_t n = 0;
	int rc = klp_plan_make(s, p, kind, &plan, e);

	_Static_assert(offsetof(struct klp_rt_cb, next_generation) == offsetof(struct klp_rt_cb, next_id) + 4,
		       "written together");
	_Static_assert(offsetof(struct klp_rt_cb, transition_kind) == offsetof(struct klp_rt_cb, transition_patch) + 4,
		       "written together");
	if (rc)
		return rc;
	if (KLP_TR_ACTIVE(s->cb->transition)) { /* the session was opened without it, and the lock is ours */
		klp_plan_free(&plan);
		return klp_fail(e, EBUSY, KLP_BUSY, "another transition has begun in process %d", s->p.pid);
	}
	op = calloc(KLP_MAX_OPS, sizeof(*op));
	if (!op) {
		klp_plan_free(&plan);
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for a request");
	}
	rc = klp_places_tidy(s, e);
	if (!rc)
		rc = klp_transition_identities(s, e);
	if (rc)
		goto out;
	next[0] = id + 1;
	next[1] = (generation & 0xffff) == 0xffff ? 1 : generation + 1;
	rc = klp_session_write_cb(s, offsetof(struct klp_rt_cb, next_id), next, sizeof(next), e);
	for (size_t i = 0; i < plan.count && !rc; i++)
		rc = klp_process_write(&s->p,
				       plan.site[i].armed.record + offsetof(struct klp_rt_site, pc) + (id & 1) * 16,
				       plan.site[i].pc, sizeof(plan.site[i].pc), e);
	clock_gettime(CLOCK_REALTIME, &now);
	since = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	about[0] = p->index + 1;
	about[1] = kind;
	if (!rc)
		rc = klp_session_write_cb(s, offsetof(struct klp_rt_cb, transition_since), &since, sizeof(since), e);
	if (!rc)
		rc = klp_session_write_cb(s, offsetof(struct klp_rt_cb, transition_patch), about, sizeof(about), e);
	if (rc)
		goto out;
	word = KLP_TR(id, generation, 1u, 0u);
	n += klp_patch_state_ops(s, p, kind == KLP_TRANSITION_LOAD ? KLP_PATCH_ENABLING : KLP_PATCH_DISABLING, &op[n]);
	klp_op_store(&op[n++], klp_cb_addr(s, offsetof(struct klp_rt_cb, transition)), word);
	klp_op_sync(&op[n++]); /* S1: pairs with the re-load of the word behind the count in dispatch */
	for (size_t i = 0; i < plan.count; i++)
		klp_op_store(&op[n++], plan.site[i].armed.record + offsetof(struct klp_rt_site, slot),
			     plan.site[i].armed.rt.stub);
	klp_op_sync(&op[n++]); /* S2: no core goes through an old slot value any more */
	rc = klp_remote_run(&s->r, op, n, e);
	if (!rc) /* before the list is read again: p points into it */
		klp_log(s, 0, "'%s': starting %s transition", p->rec.name,
			kind == KLP_TRANSITION_LOAD ? "patching" : "unpatching");
	if (!rc)
		rc = klp_session_read_cb(s, e);
	if (!rc)
		rc = klp_patches_read(s, e);
out:
	free(op);
	klp_plan_free(&plan);
	return rc;
}

int klp_transition_reverse(struct klp_session *s, struct klp_error *e)
{
	uint64_t word = s->cb->transition;
	unsigned target = KLP_TR_TARGET(word) ? 0 : 1;
	struct klp_patch *p = klp_transition_patch(s);
	bool patching;
	uint32_t next;
	struct klp_rt_op op[KLP_MAX_PATCHES + 2];
	size_t n;
	int rc;

	if (!p)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "no transition is in flight");
	if (KLP_TR_COMPLETING(word)) /* too late: it is completed first (klp_transition_run), and may be undone then */
		return 0;
	patching = (s->cb->transition_kind == KLP_TRANSITION_LOAD) == (target == 1);
	klp_log(s, 0, "'%s': reversing transition from %s", p->rec.name,
		patching ? "unpatching to patching" : "patching to unpatching");
	next = (s->cb->next_generation & 0xffff) == 0xffff ? 1 : s->cb->next_generation + 1;
	word = KLP_TR(KLP_TR_ID(word), s->cb->next_generation, target, KLP_TR_SEALED(word));
	rc = klp_session_write_cb(s, offsetof(struct klp_rt_cb, next_generation), &next, sizeof(next), e);
	if (rc)
		return rc;
	n = klp_patch_state_ops(s, p, patching ? KLP_PATCH_ENABLING : KLP_PATCH_DISABLING, op);
	klp_op_store(&op[n++], klp_cb_addr(s, offsetof(struct klp_rt_cb, transition)), word);
	klp_op_sync(&op[n++]); /* a dispatch that does not show in in_sp afterwards has seen the new word */
	rc = klp_remote_run(&s->r, op, n, e);
	if (!rc)
		rc = klp_session_read_cb(s, e);
	return rc ? rc : klp_patches_read(s, e);
}

/* Every thread that existed when the last slot led to its stub gets an entry; then the word is sealed. */
static int klp_transition_seal(struct klp_run *run, struct klp_error *e)
{
	struct klp_session *s = run->s;
	struct klp_rt_op op[2];
	int rc = klp_movers_list(run, e);

	if (rc)
		return rc;
	klp_op_store(&op[0], klp_cb_addr(s, offsetof(struct klp_rt_cb, transition)),
		     s->cb->transition | KLP_TR(0, 0, 0, 1));
	klp_op_sync(&op[1]); /* S3 */
	rc = klp_remote_run(&s->r, op, 2, e);
	return rc ? rc : klp_session_read_cb(s, e);
}

/* Every site still has klp's bytes: else calls went past dispatch and nothing is proven. Nobody calls what is gone. */
static int klp_transition_check_sites(struct klp_run *run, struct klp_error *e)
{
	for (size_t i = 0; i < run->plan.count; i++) {
		const struct klp_armed_site *a = &run->plan.site[i].armed;
		enum klp_site_state state;
		size_t done;
		int rc = klp_site_read_state(run->s, a, &state, &done, e);

		if (rc)
			return rc;
		if (state != KLP_STATE_ARMED && state != KLP_STATE_GONE) {
			char name[600];

			return klp_fail(e, EAGAIN, KLP_PENDING, "the patch site of %s is %s: another tracer changed it",
					klp_function_name(run->s, a->rt.entry, name, sizeof(name)),
					state == KLP_STATE_BYPASSED ? "bypassed" : "not armed");
		}
	}
	return 0;
}

/* Threads that found no place are in universe 0, whichever way the transition goes. */
static int klp_transition_room(const struct klp_run *run, struct klp_error *e)
{
	uint64_t overflow;
	int rc = klp_process_read(&run->s->p, klp_cb_addr(run->s, offsetof(struct klp_rt_cb, overflow)), &overflow,
				  sizeof(overflow), e);

	return !rc && overflow && KLP_TR_TARGET(run->s->cb->transition) ? klp_movers_full(run, e) : rc;
}

/* What another tracer has put back meanwhile; wait_ms 0: without a proof. */
static int klp_transition_rearm(struct klp_run *run, unsigned wait_ms, struct klp_error *e)
{
	unsigned leaving = KLP_TR_TARGET(run->s->cb->transition) ? 0 : 1;
	struct klp_armed_site **site = calloc(run->plan.count + 1, sizeof(struct klp_armed_site *));
	size_t count;
	int rc;

	if (!site)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the site list");
	for (size_t i = 0; i < run->plan.count; i++)
		site[i] = &run->plan.site[i].armed;
	rc = wait_ms ? klp_rearm_proven(run->s, site, run->plan.count, run->plan.leave[leaving],
					run->plan.leave_count[leaving], wait_ms, e)
		     : klp_rearm(run->s, site, run->plan.count, &count, e);
	free(site);
	if (rc == -EBUSY) { /* the other tracer came again in this moment: waited for, like one that is there */
		e->err = EAGAIN;
		e->reason = KLP_PENDING;
		rc = -EAGAIN;
	}
	return rc;
}

/* A process that was born meanwhile in the memory of the target, beside its threads, was never proven. */
static int klp_transition_alone(const struct klp_run *run, struct klp_error *e)
{
	pid_t other = klp_process_shared_with(&run->s->p);

	return other ? klp_fail(e, EAGAIN, KLP_PENDING,
				"process %d lives in the memory of process %d and is none of its threads (clone with "
				"CLONE_VM)",
				other, run->s->p.pid)
		     : 0;
}

/* A load, or the reversal of an unload. */
static bool klp_run_enables(const struct klp_run *run)
{
	return (run->plan.kind == KLP_TRANSITION_LOAD) == (KLP_TR_TARGET(run->s->cb->transition) == 1);
}

/* That a patch was forced is said in the request that forces it: neither before, for it may fail, nor behind it, for
 * the tool may be killed, and a patch whose threads were not awaited would give its memory back. */
static size_t klp_forced_ops(struct klp_session *s, const struct klp_patch *p, struct klp_rt_op *op)
{
	_Static_assert(offsetof(struct klp_rt_patch, replace) % 8 == 0, "one aligned store");
	_Static_assert(offsetof(struct klp_rt_patch, forced) == offsetof(struct klp_rt_patch, replace) + 4,
		       "one store for both");
	size_t n = 0;

	for (size_t i = 0; i < s->patch_count; i++)
		if (klp_patch_same(&s->patch[i], p))
			klp_op_store(&op[n++],
				     klp_cb_addr(s, offsetof(struct klp_rt_cb, patches) +
							s->patch[i].index * sizeof(struct klp_rt_patch) +
							offsetof(struct klp_rt_patch, replace)),
				     s->patch[i].rec.replace | (uint64_t)1 << 32);
	return n;
}

static int klp_transition_complete(struct klp_run *run, bool forced, struct klp_error *e)
{
	/* a store for each site, two for each patch, the word twice, and syncs */
	_Static_assert(KLP_PLAN_MAX_SITES + 2 * KLP_MAX_PATCHES + 5 <= KLP_MAX_OPS, "a transition is one request");
	struct klp_session *s = run->s;
	unsigned target = KLP_TR_TARGET(s->cb->transition);
	bool enabled = klp_run_enables(run);
	const char *verb = enabled ? "patching" : "unpatching";
	size_t n = 0;
	int rc = klp_transition_room(run, e);

	if (!rc)
		rc = klp_transition_check_sites(run, e);
	if (!rc)
		rc = klp_transition_alone(run, e);
	if (rc)
		return rc;
	klp_log(s, 0, "'%s': completing %s transition", run->plan.patch->rec.name, verb);
	klp_op_store(&run->op[n++], klp_cb_addr(s, offsetof(struct klp_rt_cb, transition)),
		     s->cb->transition | KLP_TR_COMPLETING_BIT);
	klp_op_sync(&run->op[n++]); /* a child that is forked between the stores below finds the bit, and so the target
				       universe */
	for (size_t i = 0; i < run->plan.count; i++)
		klp_op_store(&run->op[n++], run->plan.site[i].armed.record + offsetof(struct klp_rt_site, slot),
			     run->plan.site[i].pc[target]);
	klp_op_sync(&run->op[n++]); /* S5: nobody loads a stub from a slot any more when the word becomes 0 */
	if (forced)
		n += klp_forced_ops(s, run->plan.patch, &run->op[n]);
	n += klp_patch_state_ops(s, run->plan.patch, enabled ? KLP_PATCH_ENABLED : KLP_PATCH_DISABLED, &run->op[n]);
	for (size_t i = 0; run->plan.replace && enabled && i < s->patch_count; i++) {
		const struct klp_patch *other = &s->patch[i];

		if (!klp_patch_same(other, run->plan.patch) && other->rec.state == KLP_PATCH_ENABLED)
			klp_patch_state_op(s, other, KLP_PATCH_DISABLED, &run->op[n++]);
	}
	klp_op_store(&run->op[n++], klp_cb_addr(s, offsetof(struct klp_rt_cb, transition)), 0);
	klp_op_sync(&run->op[n++]);
	rc = klp_remote_run(&s->r, run->op, n, e);
	if (rc)
		return rc;
	klp_log(s, 0, "'%s': %s complete", run->plan.patch->rec.name, verb);
	rc = klp_session_read_cb(s, e);
	return rc ? rc : klp_patches_read(s, e);
}

static int klp_run_open(struct klp_run *run, struct klp_session *s, struct klp_error *e)
{
	struct klp_patch *p = klp_transition_patch(s);
	int rc;

	memset(run, 0, sizeof(*run));
	run->s = s;
	run->began_ns = klp_clock_now();
	if (!p || p->rec.state == KLP_PATCH_LOADING)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "the transition in flight names no patch");
	run->proof = malloc(sizeof(*run->proof));
	run->op = calloc(KLP_MAX_OPS, sizeof(*run->op));
	if (!run->proof || !run->op)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for a transition");
	rc = klp_plan_make(s, p, (enum klp_transition_kind)s->cb->transition_kind, &run->plan, e);
	return rc ? rc : klp_tables_build(s, e);
}

static void klp_run_close(struct klp_run *run)
{
	klp_plan_free(&run->plan);
	free(run->passed_on);
	free(run->list.m);
	free(run->proof);
	free(run->op);
}

/* The pause between two sweeps: most threads have moved in the first ones, the others are awaited at the door. */
static int klp_transition_pause(struct klp_run *run, uint64_t ns, struct klp_error *e)
{
	struct klp_session *s = run->s;
	uint64_t part = klp_clock_now() - run->began_ns < KLP_DOOR_WHOLE_NS ? ns : ns / KLP_DOOR_PART;
	struct klp_guest **guest;
	size_t count = 0;
	int rc;

	guest = klp_clock_now() - run->began_ns < KLP_DOOR_AFTER_NS
		    ? NULL
		    : malloc((run->list.count + 1) * sizeof(struct klp_guest *));
	if (!guest) {
		klp_clock_sleep(ns);
		return 0;
	}
	for (size_t i = 0; i < run->list.count; i++) {
		struct klp_mover *m = &run->list.m[i];

		if (m->moved || m->reason == KLP_IN_CLONE)
			continue;
		m->guest.tid = m->tid;
		m->guest.index = m->index;
		m->guest.moved = false;
		guest[count++] = &m->guest;
	}
	if (!count)
		part = 0;
	rc = run->passed_on ? 0 : klp_door_passed_on(s, &run->plan, &run->passed_on, e);
	if (!rc)
		rc = klp_door_wait(s, &run->plan, run->passed_on, guest, count, run->turn++, part, e);
	free(guest);
	for (size_t i = 0; i < run->list.count; i++)
		run->list.m[i].moved |= run->list.m[i].guest.moved;
	if (!rc && part < ns)
		klp_clock_sleep(ns - part);
	return rc;
}

/* Milliseconds to the deadline; some, if it has passed. */
static unsigned klp_transition_patience(uint64_t deadline)
{
	uint64_t now = klp_clock_now(), left = deadline > now ? (deadline - now) / 1000000ull : 0;

	return left > KLP_REARM_MIN_MS ? (unsigned)left : KLP_REARM_MIN_MS;
}

int klp_transition_run(struct klp_session *s, struct klp_error *e)
{
	uint64_t deadline = klp_clock_now() + (uint64_t)s->opt.timeout_ms * 1000000ull, pause = KLP_SWEEP_FIRST_NS;
	struct klp_run run;
	size_t left = 0;
	bool running = false;
	int rc = klp_run_open(&run, s, e);

	/* A child that was forked while its parent's last slots were being stored: every thread of it belongs to the
	 * target already. */
	if (!rc && KLP_TR_COMPLETING(s->cb->transition)) {
		rc = klp_transition_rearm(&run, 0, e);
		if (!rc)
			rc = klp_transition_complete(&run, false, e);
		klp_run_close(&run);
		return rc;
	}
	if (!rc && !KLP_TR_SEALED(s->cb->transition))
		rc = klp_transition_seal(&run, e);
	if (!rc && s->opt.immediate && klp_run_enables(&run)) { /* klp/load.c knows that nobody needs a proof */
		rc = klp_transition_rearm(&run, 0, e);
		if (!rc)
			rc = klp_transition_complete(&run, false, e);
		klp_run_close(&run);
		return rc;
	}
	while (!rc) {
		rc = klp_sweep(&run, &left, &running, e);
		if (rc)
			break;
		rc = klp_transition_room(&run, e);
		if (rc) {
			klp_sweep_pending(&run);
			break;
		}
		if (!left) {
			rc = klp_transition_rearm(&run, klp_transition_patience(deadline), e);
			if (!rc)
				rc = klp_entries_settle(&run, e);
			if (!rc)
				rc = klp_transition_complete(&run, false, e);
			if (rc != -EAGAIN)
				break;
		}
		if (klp_clock_now() >= deadline) {
			klp_sweep_pending(&run);
			if (left)
				rc = klp_fail(e, EAGAIN, KLP_PENDING, "%zu of %zu threads have not moved yet", left,
					      run.list.count);
			break;
		}
		rc = 0;
		klp_log(s, 2, "%zu of %zu threads left", left, run.list.count);
		rc = klp_transition_pause(&run, running && pause > KLP_SWEEP_RUNNING_NS ? KLP_SWEEP_RUNNING_NS : pause,
					  e);
		if (pause < KLP_SWEEP_MAX_NS)
			pause *= 2;
		if (!rc)
			rc = klp_remote_ping(&s->r, e);
	}
	klp_run_close(&run);
	return rc;
}

int klp_transition_force(struct klp_session *s, struct klp_error *e)
{
	struct klp_run run;
	int rc = klp_run_open(&run, s, e);

	if (!rc && run.plan.patch->meta.coupled)
		klp_log(s, 1,
			"the functions of patch '%s' belong together: forcing it may crash process %d, for the threads "
			"that "
			"have not moved mix their versions",
			run.plan.patch->rec.name, s->p.pid);
	if (!rc)
		rc = klp_transition_rearm(&run, 0, e);
	if (!rc)
		rc = klp_transition_complete(&run, true, e);
	klp_run_close(&run);
	return rc;
}
