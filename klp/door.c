/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/door.h"

#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>

#include "klp/frame.h"
#include "klp/machine.h"
#include "klp/proof.h"
#include "klp/realtime.h"

#define KLP_DOOR_LOOK_NS 20000u           /* between two looks at the doors */
#define KLP_DOOR_AGAIN_NS 1000000ull      /* a thread whose stack was not reliable is left alone so long; doubles ... */
#define KLP_DOOR_AGAIN_MAX_NS 64000000ull /* ... up to this */
#define KLP_DOOR_TAKES_LOOKS 20u          /* looks until a thread that got its verdict has applied it */
#define KLP_DOOR_SAMPLE_ROUNDS 256u

struct klp_doors {
	struct klp_session *s;
	const struct klp_range *leave;
	size_t leave_count;
	uint32_t rounds;
	struct klp_guest *invited[KLP_DOORS];
	uint8_t number[KLP_DOORS];
	struct klp_rt_door door[KLP_DOORS]; /* as read last */
	struct klp_proof proof;
};

static uint64_t klp_door_addr(const struct klp_session *s, unsigned k)
{
	return s->r.cb + offsetof(struct klp_rt_cb, door) + k * sizeof(struct klp_rt_door);
}

static uint64_t klp_guest_addr(const struct klp_session *s, const struct klp_guest *g)
{
	return s->r.cb + offsetof(struct klp_rt_cb, threads) + g->index * sizeof(struct klp_rt_thread);
}

/* How many rounds of the wait are KLP_DOOR_PATIENCE_NS here: the fastest of some samples, for it is a limit. */
static uint32_t klp_door_rounds(void)
{
	uint64_t best = UINT64_MAX, rounds;

	for (unsigned sample = 0; sample < 5; sample++) {
		uint64_t began = klp_now_ns(), took;

		for (unsigned i = 0; i < KLP_DOOR_SAMPLE_ROUNDS; i++)
			klp_relax();
		took = klp_now_ns() - began;
		best = took < best ? took : best;
	}
	rounds = (uint64_t)KLP_DOOR_PATIENCE_NS * KLP_DOOR_SAMPLE_ROUNDS / (best ? best : 1);
	return (uint32_t)(rounds < KLP_DOOR_ROUNDS_MAX ? rounds : KLP_DOOR_ROUNDS_MAX);
}

static int klp_door_write(struct klp_doors *d, unsigned k, size_t offset, const void *buf, size_t len,
			  struct klp_error *e)
{
	return klp_process_write(&d->s->p, klp_door_addr(d->s, k) + offset, buf, len, e);
}

static int klp_door_withdraw(struct klp_doors *d, unsigned k, struct klp_error *e)
{
	uint8_t none = 0;

	d->invited[k] = NULL;
	return klp_door_write(d, k, offsetof(struct klp_rt_door, invitation), &none, 1, e);
}

/* The number is written last, and is not that of the last offer: the thread would not answer to it. */
static int klp_door_invite(struct klp_doors *d, struct klp_guest *g, struct klp_error *e)
{
	unsigned k = KLP_DOOR_OF(g->index);
	struct klp_rt_door letter = {.entry = klp_guest_addr(d->s, g),
				     .above = g->above,
				     .rounds = d->rounds,
				     .generation = KLP_TR_GENERATION(d->s->cb->transition)};
	uint8_t number = (uint8_t)((uint8_t)d->door[k].offer + 1);
	int rc;

	number = number ? number : 1;
	rc = klp_door_write(d, k, 0, &letter, offsetof(struct klp_rt_door, offer), e);
	if (!rc)
		rc = klp_door_write(d, k, offsetof(struct klp_rt_door, invitation), &number, 1, e);
	d->number[k] = number;
	d->invited[k] = g;
	return rc;
}

/* Where the outermost function being left returns to: inside of it nothing can be proven. */
static uint64_t klp_door_above(const struct klp_doors *d)
{
	const struct klp_unw_trace *t = &d->proof.trace;

	for (size_t i = t->count; i-- > 0;)
		for (size_t r = 0; r < d->leave_count; r++)
			if (t->frame[i].lookup >= d->leave[r].start && t->frame[i].lookup < d->leave[r].end &&
			    t->frame[i].cfa > sizeof(struct klp_rt_regs))
				/* A call from behind it has its registers here at the lowest. */
				return t->frame[i].cfa - sizeof(struct klp_rt_regs) - 1;
	return 0;
}

static int klp_guest_read(struct klp_doors *d, const struct klp_guest *g, struct klp_rt_thread *t, struct klp_error *e)
{
	return klp_process_read(&d->s->p, klp_guest_addr(d->s, g), t, sizeof(*t), e);
}

static bool klp_guest_arrived(const struct klp_doors *d, const struct klp_rt_thread *t)
{
	uint64_t word = d->s->cb->transition;

	return t->state == (KLP_TR_ID(word) << 1 | KLP_TR_TARGET(word)) && !t->in_sp;
}

/* The thread waits, or did: 1 a verdict has been stored, 0 none. */
static int klp_door_prove(struct klp_doors *d, struct klp_guest *g, uint64_t at, struct klp_error *e)
{
	struct klp_rt_thread before, after;
	struct klp_unw_regs regs;
	struct klp_rt_regs saved;
	uint64_t verdict;
	int rc = klp_guest_read(d, g, &before, e);

	if (!rc && before.in_sp == at)
		rc = klp_process_read(&d->s->p, at, &saved, sizeof(saved), e);
	if (rc || before.in_sp != at)
		return rc;
	klp_registers_at_entry(&saved, at, &regs);
	klp_prove_registers(d->s, g->tid, &regs, g->thread_pointer, d->leave, d->leave_count, &d->proof);
	rc = klp_guest_read(d, g, &after, e);
	if (rc || after.in_sp != at || after.count != before.count)
		return rc; /* it did not wait for us */
	g->looked = true;
	g->reason = d->proof.verdict;
	g->function = d->proof.function;
	if (d->proof.verdict != KLP_OK) {
		g->above = d->proof.verdict == KLP_ON_STACK ? klp_door_above(d) : 0;
		return 0;
	}
	verdict = KLP_VERDICT(KLP_TR_GENERATION(d->s->cb->transition), before.count - 1);
	rc = klp_process_write(&d->s->p, klp_guest_addr(d->s, g) + offsetof(struct klp_rt_thread, verdict), &verdict,
			       sizeof(verdict), e);
	return rc ? rc : 1;
}

/* It has the verdict for the call that it is making: does it take it? */
static int klp_door_takes(struct klp_doors *d, struct klp_guest *g, uint64_t at, struct klp_error *e)
{
	for (unsigned look = 0; look < KLP_DOOR_TAKES_LOOKS && !g->moved; look++) {
		struct klp_rt_thread t;
		int rc = klp_guest_read(d, g, &t, e);

		if (rc)
			return rc;
		g->moved = klp_guest_arrived(d, &t);
		if (t.in_sp != at)
			break;
	}
	return 0;
}

static int klp_door_answer(struct klp_doors *d, unsigned k, struct klp_error *e)
{
	struct klp_guest *g = d->invited[k];
	uint64_t at = d->door[k].offer >> 8, again = KLP_DOOR_AGAIN_NS << (g->refused < 6 ? g->refused : 6);
	int given, rc = 0;

	g->looked = false;
	given = klp_door_prove(d, g, at, e);
	if (given > 0)
		rc = klp_door_takes(d, g, at, e);
	if (given < 0 || rc)
		return given < 0 ? given : rc;
	if (!g->looked || g->reason == KLP_ON_STACK) {
		g->refused = 0;
		g->not_before = 0;
	} else if (!g->moved) {
		g->refused++;
		g->not_before = klp_now_ns() + (again < KLP_DOOR_AGAIN_MAX_NS ? again : KLP_DOOR_AGAIN_MAX_NS);
	}
	return klp_door_withdraw(d, k, e);
}

/* Whoever is next for each free door. Returns how many are invited or will be. */
static int klp_doors_invite(struct klp_doors *d, struct klp_guest *const *guest, size_t count, size_t turn,
			    size_t *left, struct klp_error *e)
{
	uint64_t now = klp_now_ns();
	int rc = 0;

	*left = 0;
	for (size_t i = 0; i < count && !rc; i++) {
		struct klp_guest *g = guest[(turn + i) % count];

		if (g->moved)
			continue;
		(*left)++;
		if (!d->invited[KLP_DOOR_OF(g->index)] && g->not_before <= now)
			rc = klp_door_invite(d, g, e);
	}
	return rc;
}

int klp_door_wait(struct klp_session *s, const struct klp_range *leave, size_t leave_count,
		  struct klp_guest *const *guest, size_t count, unsigned turn, uint64_t ns, struct klp_error *e)
{
	static _Thread_local struct klp_doors d;
	uint64_t until = klp_now_ns() + ns;
	struct klp_realtime rt;
	size_t left = count;
	int rc = 0, slack = prctl(PR_GET_TIMERSLACK);

	memset(&d, 0, offsetof(struct klp_doors, proof));
	d.s = s;
	d.leave = leave;
	d.leave_count = leave_count;
	d.rounds = klp_door_rounds();
	for (size_t i = 0; i < count; i++)
		if (!guest[i]->thread_pointer && guest[i]->tid != s->p.pid)
			guest[i]->thread_pointer = klp_thread_pointer(s, guest[i]->tid);
	klp_realtime_begin(&rt);
	prctl(PR_SET_TIMERSLACK, 1);
	rc = klp_process_read(&s->p, klp_door_addr(s, 0), d.door, sizeof(d.door), e);
	while (!rc && left && klp_now_ns() < until) {
		rc = klp_doors_invite(&d, guest, count, turn, &left, e);
		if (rc || !left)
			break;
		klp_sleep_ns(KLP_DOOR_LOOK_NS);
		rc = klp_process_read(&s->p, klp_door_addr(s, 0), d.door, sizeof(d.door), e);
		for (unsigned k = 0; k < KLP_DOORS && !rc; k++)
			if (d.invited[k] && (uint8_t)d.door[k].offer == d.number[k])
				rc = klp_door_answer(&d, k, e);
	}
	for (unsigned k = 0; k < KLP_DOORS && !rc; k++)
		if (d.invited[k])
			rc = klp_door_withdraw(&d, k, e);
	if (slack >= 0)
		prctl(PR_SET_TIMERSLACK, slack);
	klp_realtime_end(&rt);
	return rc;
}
