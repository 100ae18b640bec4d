/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/door.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "klp/callsite.h"
#include "klp/clock.h"
#include "klp/frame.h"
#include "klp/machine.h"
#include "klp/proof.h"
#include "klp/realtime.h"

#define KLP_DOOR_LOOK_NS 20000u           /* between two looks at the seat */
#define KLP_DOOR_AGAIN_NS 1000000ull      /* a thread whose stack was not reliable is left alone so long; doubles ... */
#define KLP_DOOR_AGAIN_MAX_NS 64000000ull /* ... up to this */
#define KLP_DOOR_TAKES_LOOKS 20u          /* looks until a thread that got its verdict has applied it */
#define KLP_DOOR_CODE_MAX (256u << 20)    /* of one function: as large as a module may be */
#define KLP_DOOR_SAMPLES 5u
#define KLP_DOOR_SAMPLE_LOOPS 256u

struct klp_visit {
	struct klp_session *s;
	const struct klp_plan *plan;
	const bool *passed_on;
	const struct klp_range *leave;
	size_t leave_count;
	struct klp_guest *invited[KLP_DOORS];
	uint8_t round;
	struct klp_proof proof;
};

static int klp_door_write(struct klp_visit *v, size_t offset, const void *buf, size_t len, struct klp_error *e)
{
	return klp_process_write(&v->s->p, v->s->r.cb + offsetof(struct klp_rt_cb, door) + offset, buf, len, e);
}

static int klp_door_seat(struct klp_visit *v, uint64_t *seat, struct klp_error *e)
{
	return klp_process_read(&v->s->p, v->s->r.cb + offsetof(struct klp_rt_cb, door.seat), seat, sizeof(*seat), e);
}

static uint64_t klp_guest_addr(const struct klp_session *s, const struct klp_guest *g)
{
	return s->r.cb + offsetof(struct klp_rt_cb, threads) + g->index * sizeof(struct klp_rt_thread);
}

/* How many loops of the wait are KLP_DOOR_PATIENCE_NS here: by the fastest of some samples, for it is a limit. */
static uint32_t klp_door_patience(void)
{
	uint64_t best = UINT64_MAX, loops;

	for (unsigned sample = 0; sample < KLP_DOOR_SAMPLES; sample++) {
		uint64_t began = klp_clock_now(), took;

		for (unsigned i = 0; i < KLP_DOOR_SAMPLE_LOOPS; i++)
			klp_relax();
		took = klp_clock_now() - began;
		best = took < best ? took : best;
	}
	loops = (uint64_t)KLP_DOOR_PATIENCE_NS * KLP_DOOR_SAMPLE_LOOPS / (best ? best : 1);
	return (uint32_t)(loops < KLP_DOOR_PATIENCE_MAX ? loops : KLP_DOOR_PATIENCE_MAX);
}

/* 0 closes the door. One byte, behind all that it publishes. */
static int klp_door_round(struct klp_visit *v, uint8_t round, struct klp_error *e)
{
	v->round = round;
	return klp_door_write(v, offsetof(struct klp_rt_door, round), &round, 1, e);
}

/* Whoever sat there last, in whatever round of whatever tool, may do so again. */
static int klp_door_next(struct klp_visit *v, uint64_t seat, struct klp_error *e)
{
	uint8_t round = (uint8_t)((uint8_t)seat + 1);

	return klp_door_round(v, round ? round : 1, e);
}

static int klp_door_invite(struct klp_visit *v, unsigned k, struct klp_guest *g, struct klp_error *e)
{
	struct klp_rt_invitation in = {0};

	if (g) {
		in.entry = klp_guest_addr(v->s, g);
		in.above = g->above;
	}
	v->invited[k] = g;
	return klp_door_write(v, offsetof(struct klp_rt_door, invited) + k * sizeof(in), &in, sizeof(in), e);
}

/* Whoever is next for each free place. *left: how many have not moved. */
static int klp_door_invitations(struct klp_visit *v, struct klp_guest *const *guest, size_t count, size_t turn,
				size_t *left, struct klp_error *e)
{
	uint64_t now = klp_clock_now();
	int rc = 0;

	*left = 0;
	for (size_t i = 0; i < count && !rc; i++) {
		struct klp_guest *g = guest[(turn + i) % count];
		unsigned k = KLP_DOOR_OF(g->index);

		if (g->moved)
			continue;
		(*left)++;
		if (!v->invited[k] && g->not_before <= now)
			rc = klp_door_invite(v, k, g, e);
	}
	return rc;
}

/* Where the outermost function being left returns to: inside of it nothing can be proven. */
static uint64_t klp_door_above(const struct klp_visit *v)
{
	const struct klp_unw_trace *t = &v->proof.trace;

	for (size_t i = t->count; i-- > 0;)
		for (size_t r = 0; r < v->leave_count; r++)
			if (t->frame[i].lookup >= v->leave[r].start && t->frame[i].lookup < v->leave[r].end &&
			    t->frame[i].cfa > sizeof(struct klp_rt_regs))
				/* A call from behind it has its registers here at the lowest. */
				return t->frame[i].cfa - sizeof(struct klp_rt_regs) - 1;
	return 0;
}

static int klp_guest_read(struct klp_visit *v, const struct klp_guest *g, struct klp_rt_thread *t, struct klp_error *e)
{
	return klp_process_read(&v->s->p, klp_guest_addr(v->s, g), t, sizeof(*t), e);
}

static bool klp_guest_arrived(const struct klp_visit *v, const struct klp_rt_thread *t)
{
	uint64_t word = v->s->cb->transition;

	return t->state == (KLP_TR_ID(word) << 1 | KLP_TR_TARGET(word)) && !t->in_sp;
}

/* Who has the seat: by the mark, for only an invited one counts. KLP_DOORS: nobody, or not any more. */
static int klp_door_who(struct klp_visit *v, uint64_t at, unsigned *who, struct klp_error *e)
{
	struct klp_piece piece[KLP_DOORS];
	uint64_t mark[KLP_DOORS];
	unsigned k[KLP_DOORS];
	size_t n = 0;
	int rc;

	*who = KLP_DOORS;
	for (unsigned i = 0; i < KLP_DOORS; i++)
		if (v->invited[i]) {
			piece[n] = (struct klp_piece){klp_guest_addr(v->s, v->invited[i]) +
							  offsetof(struct klp_rt_thread, in_sp),
						      &mark[n], sizeof(mark[n])};
			k[n++] = i;
		}
	rc = klp_process_read_pieces(&v->s->p, piece, n, e);
	for (size_t i = 0; i < n && !rc; i++)
		if (mark[i] == at)
			*who = k[i];
	return rc;
}

/* Is the function that is entered the one that was called? The trampoline saved its site's record. */
static bool klp_door_called(const struct klp_visit *v, const struct klp_rt_regs *saved)
{
	for (size_t i = 0; i < v->plan->count; i++)
		if (v->plan->site[i].armed.record == saved->record)
			return !v->passed_on[i] ||
			       klp_call_is_of(&v->s->p, saved->ret, v->plan->site[i].armed.rt.entry);
	return false;
}

/* The thread waits, or did: 1 a verdict has been stored, 0 none. */
static int klp_door_prove(struct klp_visit *v, struct klp_guest *g, uint64_t at, struct klp_error *e)
{
	struct klp_rt_thread before, after;
	struct klp_unw_regs regs;
	struct klp_rt_regs saved;
	uint64_t verdict;
	int rc = klp_guest_read(v, g, &before, e);

	if (!rc && before.in_sp == at)
		rc = klp_process_read(&v->s->p, at, &saved, sizeof(saved), e);
	if (rc || before.in_sp != at)
		return rc;
	klp_registers_at_entry(&saved, at, &regs);
	klp_prove_registers(v->s, g->tid, &regs, g->thread_pointer, v->leave, v->leave_count, &v->proof);
	rc = klp_guest_read(v, g, &after, e);
	if (rc || after.in_sp != at || after.count != before.count)
		return rc; /* it did not wait for us */
	g->looked = true;
	g->reason = v->proof.verdict;
	g->function = v->proof.function;
	g->above = v->proof.verdict == KLP_ON_STACK ? klp_door_above(v) : 0;
	if (v->proof.verdict == KLP_OK && !klp_door_called(v, &saved))
		g->reason = KLP_UNW_CALLER_HIDDEN;
	if (g->reason != KLP_OK)
		return 0;
	verdict = KLP_VERDICT(KLP_TR_GENERATION(v->s->cb->transition), before.count - 1);
	rc = klp_process_write(&v->s->p, klp_guest_addr(v->s, g) + offsetof(struct klp_rt_thread, verdict), &verdict,
			       sizeof(verdict), e);
	return rc ? rc : 1;
}

/* It has the verdict for the call that it is making: does it take it? */
static int klp_door_takes(struct klp_visit *v, struct klp_guest *g, uint64_t at, struct klp_error *e)
{
	for (unsigned look = 0; look < KLP_DOOR_TAKES_LOOKS && !g->moved; look++) {
		struct klp_rt_thread t;
		int rc = klp_guest_read(v, g, &t, e);

		if (rc)
			return rc;
		g->moved = klp_guest_arrived(v, &t);
		if (t.in_sp != at)
			break;
	}
	return 0;
}

/* The seat is taken: whoever it is gets an answer, then the next round begins. */
static int klp_door_answer(struct klp_visit *v, uint64_t seat, struct klp_error *e)
{
	uint64_t at = seat >> 8, again;
	struct klp_guest *g;
	unsigned k;
	int given, rc = klp_door_who(v, at, &k, e);

	if (rc || k == KLP_DOORS)
		return rc ? rc : klp_door_next(v, seat, e);
	g = v->invited[k];
	g->looked = false;
	given = klp_door_prove(v, g, at, e);
	rc = given > 0 ? klp_door_takes(v, g, at, e) : given;
	if (!rc)
		rc = klp_door_next(v, seat, e);
	if (rc || !g->looked)
		return rc;
	if (g->moved || g->reason == KLP_ON_STACK) {
		g->refused = 0;
	} else {
		again = KLP_DOOR_AGAIN_NS << (g->refused < 6 ? g->refused : 6);
		g->not_before = klp_clock_now() + (again < KLP_DOOR_AGAIN_MAX_NS ? again : KLP_DOOR_AGAIN_MAX_NS);
		g->refused++;
	}
	return klp_door_invite(v, k, NULL, e);
}

static int klp_door_open(struct klp_visit *v, struct klp_error *e)
{
	struct klp_rt_invitation none[KLP_DOORS] = {{0}};
	uint32_t patience = klp_door_patience();
	uint16_t generation = KLP_TR_GENERATION(v->s->cb->transition);
	int rc = klp_door_round(v, 0, e); /* a killed tool may have left it open */

	if (!rc)
		rc = klp_door_write(v, offsetof(struct klp_rt_door, invited), none, sizeof(none), e);
	if (!rc)
		rc = klp_door_write(v, offsetof(struct klp_rt_door, patience), &patience, sizeof(patience), e);
	if (!rc)
		rc = klp_door_write(v, offsetof(struct klp_rt_door, generation), &generation, sizeof(generation), e);
	return rc;
}

int klp_door_passed_on(struct klp_session *s, const struct klp_plan *plan, bool **passed_on, struct klp_error *e)
{
	unsigned leaving = KLP_TR_TARGET(s->cb->transition) ? 0 : 1;
	uint64_t *entry = calloc(plan->count + 1, sizeof(*entry));
	struct klp_error unreadable = KLP_ERROR_INIT;
	int rc = 0;

	*passed_on = calloc(plan->count + 1, sizeof(**passed_on));
	if (!entry || !*passed_on)
		rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for a list of functions");
	for (size_t i = 0; i < plan->count && !rc; i++)
		entry[i] = plan->site[i].armed.rt.entry;
	for (size_t i = 0; i < plan->leave_count[leaving] && !rc; i++) {
		const struct klp_range *r = &plan->leave[leaving][i];
		uint8_t *code =
		    r->end > r->start && r->end - r->start <= KLP_DOOR_CODE_MAX ? malloc(r->end - r->start) : NULL;

		/* What cannot be read (the program has closed the object) may have jumped anywhere. */
		if (!code || klp_process_read(&s->p, r->start, code, (size_t)(r->end - r->start), &unreadable))
			memset(*passed_on, true, plan->count);
		else
			klp_jumps_reach(&s->p, code, (size_t)(r->end - r->start), r->start, entry, *passed_on,
					plan->count);
		free(code);
	}
	free(entry);
	if (rc) {
		free(*passed_on);
		*passed_on = NULL;
	}
	return rc;
}

int klp_door_wait(struct klp_session *s, const struct klp_plan *plan, const bool *passed_on,
		  struct klp_guest *const *guest, size_t count, unsigned turn, uint64_t ns, struct klp_error *e)
{
	unsigned leaving = KLP_TR_TARGET(s->cb->transition) ? 0 : 1;
	static _Thread_local struct klp_visit v;
	uint64_t until = klp_clock_now() + ns, seat = 0;
	struct klp_realtime rt;
	size_t left = count;
	int rc = 0, slack = prctl(PR_GET_TIMERSLACK);

	memset(&v, 0, offsetof(struct klp_visit, proof));
	v.s = s;
	v.plan = plan;
	v.passed_on = passed_on;
	v.leave = plan->leave[leaving];
	v.leave_count = plan->leave_count[leaving];
	for (size_t i = 0; i < count; i++)
		if (!guest[i]->thread_pointer && guest[i]->tid != s->p.pid)
			guest[i]->thread_pointer = klp_thread_pointer(s, guest[i]->tid);
	klp_realtime_begin(&rt, 0);
	prctl(PR_SET_TIMERSLACK, 1);
	rc = klp_door_open(&v, e);
	if (!rc)
		rc = klp_door_seat(&v, &seat, e);
	while (!rc && left && klp_clock_now() < until) {
		rc = klp_door_invitations(&v, guest, count, turn, &left, e);
		if (rc || !left)
			break;
		if (!v.round)
			rc = klp_door_next(&v, seat, e);
		if (!rc) {
			klp_clock_sleep(KLP_DOOR_LOOK_NS);
			rc = klp_door_seat(&v, &seat, e);
		}
		if (!rc && (uint8_t)seat == v.round)
			rc = klp_door_answer(&v, seat, e);
	}
	if (!rc)
		rc = klp_door_round(&v, 0, e);
	if (slack >= 0)
		prctl(PR_SET_TIMERSLACK, slack);
	klp_realtime_end(&rt);
	return rc;
}
