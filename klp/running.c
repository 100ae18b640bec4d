/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/running.h"

#include <errno.h>
#include <stdlib.h>

#include "klp/clock.h"
#include "klp/sample.h"

#define KLP_RUNNING_ANSWERS 16u            /* P2: an interrupt only after so many "running" answers ... */
#define KLP_RUNNING_SPAN_NS 100000000ull   /* ... spread over this long, the last one immediately before */
#define KLP_INTERRUPT_GAP_NS 1000000000ull /* A6: one thread is interrupted at most once a second */
#define KLP_PICTURE_WAIT_NS 1000000ull     /* a thread that runs is met within its first microseconds */
#define KLP_PICTURE_SHOW_NS 50000000ull    /* of one thread, when nobody else waits */
#define KLP_PICTURE_ROUND_NS 10000000ull   /* for all threads of one round, so that the others are not forgotten */
#define KLP_PICTURE_GAP_NS 2000000ull      /* between two pictures of one thread; doubles */
#define KLP_PICTURE_GAP_MAX_NS 20000000ull /* and this more per thread: everyone's turn comes */
#define KLP_PICTURE_GAP_THREAD_NS KLP_PICTURE_WAIT_NS
#define KLP_PICTURE_GIVE_UP_NS 3000000000ull /* no thread has been met in so long: this kernel's clocks meet nobody */
#define KLP_PICTURES_CLEAN 4u /* then an interrupt is tried as well: it enters patched code too often for a picture */

void klp_running_round(struct klp_session *s, size_t threads)
{
	s->sampling.until = klp_clock_now() + KLP_PICTURE_ROUND_NS;
	s->sampling.gap_max = KLP_PICTURE_GAP_MAX_NS + threads * KLP_PICTURE_GAP_THREAD_NS;
}

/* Is there a picture now? The proof is filled if there is. */
static bool klp_running_picture(struct klp_session *s, pid_t tid, struct klp_running *r, uint64_t wait_ns,
				const struct klp_range *range, size_t count, struct klp_proof *proof)
{
	uint64_t now = klp_clock_now();
	int rc;

	if (s->opt.no_samples || s->sampling.denied || now >= s->sampling.until ||
	    now - r->pictured_at < r->picture_gap)
		return false;
	if (!s->sampling.sample)
		s->sampling.sample = malloc(sizeof(*s->sampling.sample));
	if (!s->sampling.sample)
		return false;
	rc = klp_sample_take(tid, wait_ns, s->sampling.sample);
	if (!s->sampling.tried_at)
		s->sampling.tried_at = now;
	s->sampling.seen |= rc == 1;
	s->sampling.denied = rc == -EPERM || (!s->sampling.seen && now - s->sampling.tried_at > KLP_PICTURE_GIVE_UP_NS);
	r->pictured_at = klp_clock_now();
	r->picture_gap = r->picture_gap ? r->picture_gap * 2 : KLP_PICTURE_GAP_NS;
	if (r->picture_gap > s->sampling.gap_max)
		r->picture_gap = s->sampling.gap_max;
	if (rc != 1)
		return false;
	klp_prove_sample(s, tid, s->sampling.sample, range, count, proof);
	return true;
}

enum klp_running_way klp_running_look(struct klp_session *s, pid_t tid, struct klp_running *r,
				      const struct klp_range *range, size_t count, struct klp_proof *proof)
{
	uint64_t now = klp_clock_now();

	if (!r->answers++)
		r->since = now;
	if (klp_running_picture(s, tid, r, KLP_PICTURE_WAIT_NS, range, count, proof)) {
		/* An interrupt would show no more, and would cost a stop. */
		if (proof->verdict == KLP_ON_STACK) {
			r->shown_at = now;
			return KLP_RUNNING_PICTURED;
		}
		if (proof->verdict == KLP_OK && r->clean++ < KLP_PICTURES_CLEAN)
			return KLP_RUNNING_PICTURED;
	} else if (!s->opt.no_samples && !s->sampling.denied) {
		/* It may be inside a call that a stop would cut short (hazard A5): a picture shows that it is not. */
		return KLP_RUNNING_WAIT;
	}
	if (r->answers < KLP_RUNNING_ANSWERS || now - r->since < KLP_RUNNING_SPAN_NS ||
	    (r->interrupted_at && now - r->interrupted_at < KLP_INTERRUPT_GAP_NS) ||
	    (r->shown_at && now - r->shown_at < KLP_INTERRUPT_GAP_NS))
		return KLP_RUNNING_WAIT;
	r->interrupted_at = now;
	return KLP_RUNNING_INTERRUPT;
}

bool klp_running_show(struct klp_session *s, pid_t tid, const struct klp_range *range, size_t count,
		      struct klp_proof *proof)
{
	struct klp_running once = {0};

	klp_running_round(s, 1);
	return klp_running_picture(s, tid, &once, KLP_PICTURE_SHOW_NS, range, count, proof);
}

void klp_running_rests(struct klp_running *r)
{
	r->answers = 0;
	r->clean = 0;
	r->picture_gap = 0;
}
