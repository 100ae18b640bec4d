/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unwind/verdict.h"

#include <inttypes.h>
#include <stdio.h>

#define SP 7u           /* DWARF number of the stack pointer */
#define TLS_SLACK 16384 /* between a thread's first frame and its thread pointer, beside static TLS */
#define SHOWN 3

static struct klp_unw_trace trace;

static void verdict_show(const struct verdicts *v, const char *how, const struct klp_unw_regs *regs,
			 const struct shadow *s)
{
	printf("wrong at %#" PRIx64 " (%s, step %" PRIu64 "): %zu frames, shadow %zu\n", regs->pc, how, v->steps,
	       trace.count, s->depth + 1);
	for (size_t i = 0; i < trace.count && i <= s->depth + 4; i++)
		printf("  %#" PRIx64 " cfa %#" PRIx64 "   shadow %#" PRIx64 " at %#" PRIx64 "\n", trace.frame[i].pc,
		       trace.frame[i].cfa, i && i <= s->depth ? s->at[s->depth - i].ra : 0,
		       i && i <= s->depth ? s->at[s->depth - i].slot : 0);
}

static void verdict_walk(const struct klp_unw_space *space, const struct verdict_thread *th,
			 const struct klp_unw_regs *regs, struct memory *m)
{
	struct klp_unw_thread own = {regs->r[SP], th->main_high, 16, true};
	const struct klp_unw_thread other = {regs->r[SP], th->tp, TLS_SLACK + th->tls, false};

	if (!th->main_thread)
		own = other;
	klp_unw_walk(space, regs, &own, memory_read, m, &trace);
	/* The child of a fork by another thread than the main one lives on a copy of that one's stack. */
	if (th->main_thread && trace.verdict == KLP_UNW_NO_END && th->tp)
		klp_unw_walk(space, regs, &other, memory_read, m, &trace);
}

static bool verdict_right(const struct shadow *s)
{
	static uint64_t pc[KLP_UNW_MAX_FRAMES];

	for (size_t i = 0; i < trace.count; i++)
		pc[i] = trace.frame[i].pc;
	return shadow_agrees(s, pc, trace.count);
}

enum klp_reason verdict_ask(struct verdicts *v, const struct klp_unw_space *space, const struct verdict_thread *th,
			    const struct klp_unw_regs *regs, const struct shadow *s, struct memory *m)
{
	struct klp_unw_regs few = {.pc = regs->pc, .known = 1u << SP};
	enum klp_reason rc;

	v->steps++;
	verdict_walk(space, th, regs, m);
	rc = trace.verdict;
	v->count[rc]++;
	if (rc == KLP_OK) {
		v->reliable++;
		if (!verdict_right(s) && v->wrong++ < SHOWN)
			verdict_show(v, "all registers", regs, s);
	}
	few.r[SP] = regs->r[SP];
	verdict_walk(space, th, &few, m);
	if (trace.verdict == KLP_OK) {
		v->blocked++;
		if (!verdict_right(s) && v->wrong++ < SHOWN)
			verdict_show(v, "sp and pc", regs, s);
	}
	return rc;
}

static double verdict_share(uint64_t part, const struct verdicts *v)
{
	return v->steps ? 100.0 * (double)part / (double)v->steps : 0.0;
}

double verdict_print(const struct verdicts *v)
{
	printf("%" PRIu64 " steps, %" PRIu64 " reliable (%.2f %%), %.2f %% by stack pointer and PC alone, %" PRIu64
	       " wrong\n",
	       v->steps, v->reliable, verdict_share(v->reliable, v), verdict_share(v->blocked, v), v->wrong);
	for (unsigned i = 1; i < KLP_REASON_COUNT; i++)
		if (v->count[i])
			printf("  %s: %" PRIu64 "\n", klp_reason_name((enum klp_reason)i), v->count[i]);
	return verdict_share(v->reliable, v);
}

void verdict_row(const struct verdicts *v, const char *name, double seconds)
{
	bool first = true;

	printf("| %s | %" PRIu64 " | %.2f | %.2f | %" PRIu64 " | ", name, v->steps, verdict_share(v->reliable, v),
	       verdict_share(v->blocked, v), v->wrong);
	for (unsigned i = 1; i < KLP_REASON_COUNT; i++)
		if (v->count[i]) {
			printf("%s%s %" PRIu64, first ? "" : ", ", klp_reason_name((enum klp_reason)i), v->count[i]);
			first = false;
		}
	printf("%s | %.0f |\n", first ? "-" : "", seconds > 0 ? (double)v->steps / seconds : 0.0);
}
