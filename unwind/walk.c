/* SPDX-License-Identifier: Apache-2.0 */
/* The walk from frame to frame. Whatever is not certain ends it with a reason. */
#include "unwind/internal.h"

#include <string.h>

struct klp_walk {
	const struct klp_unw_space *s;
	const struct klp_unw_arch *arch;
	const struct klp_unw_thread *th;
	klp_unw_read_fn read;
	void *ctx;
	uint64_t low;                    /* of this thread's own stack; a signal frame on another stack can lower it */
	bool own;                        /* on the thread's own stack */
	const struct klp_unw_leaf *leaf; /* how the link register of the frame below was known */
	uint64_t last;                   /* the CFA before this one on the same stack, 0 when there is none */
};

static bool klp_walk_in_own(const struct klp_walk *w, uint64_t addr)
{
	return addr >= w->low && (addr <= w->th->stack_high || addr - w->th->stack_high <= 16);
}

static bool klp_known(const struct klp_unw_regs *r, unsigned reg)
{
	return r->known >> reg & 1;
}

/* Words are taken only from the frame itself: [sp - red zone, cfa), or from the context that a signal left above sp. */
static enum klp_reason klp_walk_load(const struct klp_walk *w, const struct klp_unw_regs *regs, bool signal,
				     uint64_t cfa, uint64_t addr, uint64_t *out)
{
	uint64_t sp = regs->r[w->arch->sp], from = signal ? sp : sp - w->arch->red_zone;

	if (addr < from || addr + 8 < addr || (!signal && addr + 8 > cfa) ||
	    (signal && addr - sp > KLP_UNW_SIGNAL_SIZE))
		return KLP_UNW_OUT_OF_STACK;
	return w->read(w->ctx, addr, out, sizeof(*out)) ? KLP_UNW_OUT_OF_STACK : KLP_OK;
}

static enum klp_reason klp_walk_cfa(const struct klp_walk *w, const struct klp_unw_row *row,
				    const struct klp_unw_regs *regs, uint64_t *cfa)
{
	uint64_t at;

	if (row->cfa_kind == KLP_UNW_CFA_PLT) {
		*cfa = w->arch->plt_cfa(regs);
		return KLP_OK;
	}
	if (!klp_known(regs, row->cfa_reg))
		return KLP_UNW_REG_UNKNOWN;
	at = regs->r[row->cfa_reg] + (uint64_t)row->cfa_off;
	if (row->cfa_kind == KLP_UNW_CFA_REG) {
		*cfa = at;
		return KLP_OK;
	}
	if (at < regs->r[w->arch->sp] || at + 8 < at || (w->own && !klp_walk_in_own(w, at + 8)) ||
	    w->read(w->ctx, at, cfa, sizeof(*cfa)))
		return KLP_UNW_OUT_OF_STACK;
	return KLP_OK;
}

static enum klp_reason klp_walk_rule(const struct klp_walk *w, const struct klp_unw_row *row,
				     const struct klp_unw_regs *regs, uint64_t cfa, unsigned reg, uint64_t *v,
				     bool *known)
{
	const struct klp_unw_rule *rule = &row->rule[reg];

	*known = true;
	switch (rule->kind) {
	case KLP_UNW_RULE_OFFSET:
		return klp_walk_load(w, regs, row->signal, cfa, cfa + (uint64_t)rule->off, v);
	case KLP_UNW_RULE_VAL_OFFSET:
		*v = cfa + (uint64_t)rule->off;
		return KLP_OK;
	case KLP_UNW_RULE_REGISTER:
		*known = klp_known(regs, rule->reg);
		*v = regs->r[rule->reg];
		return KLP_OK;
	case KLP_UNW_RULE_ADDRESS:
		if (!klp_known(regs, rule->reg))
			break;
		return klp_walk_load(w, regs, row->signal, cfa, regs->r[rule->reg] + (uint64_t)rule->off, v);
	case KLP_UNW_RULE_SAME:
		*known = klp_known(regs, reg);
		*v = regs->r[reg];
		return KLP_OK;
	case KLP_UNW_RULE_DEFAULT:
		/* A call preserves some registers; of a signal frame nothing is taken that it does not say. */
		if (row->signal || !(w->arch->preserved >> reg & 1))
			break;
		*known = klp_known(regs, reg);
		*v = regs->r[reg];
		return KLP_OK;
	default:
		break;
	}
	*known = false;
	*v = 0;
	return KLP_OK;
}

/* A signal interrupted code with the stack pointer `to`: on the same stack, or on another that the handler's alternate
 * stack hides. */
static void klp_walk_interrupted(struct klp_walk *w, uint64_t sp, uint64_t to)
{
	if (to <= sp && to < w->low)
		w->low = to;
	w->own = klp_walk_in_own(w, to);
	w->last = 0;
}

/* The frame that called, or was interrupted, in place of *regs. */
static enum klp_reason klp_walk_step(struct klp_walk *w, const struct klp_unw_row *row, uint64_t cfa,
				     const struct klp_unw_leaf *leaf, struct klp_unw_regs *regs)
{
	uint64_t sp = regs->r[w->arch->sp];
	struct klp_unw_regs up = {0};
	enum klp_reason rc;
	bool known;

	rc = klp_walk_rule(w, row, regs, cfa, w->arch->ra, &up.pc, &known);
	if (rc != KLP_OK)
		return rc;
	/* A link register that nobody saved still holds the return address. */
	if (!known && w->arch->ra_is_link && row->rule[w->arch->ra].kind == KLP_UNW_RULE_DEFAULT) {
		known = klp_known(regs, w->arch->ra);
		up.pc = regs->r[w->arch->ra];
		if (!known && leaf) {
			known = true;
			up.pc = leaf->ret;
			w->leaf = leaf;
		}
	}
	if (!known)
		return KLP_UNW_REG_UNKNOWN;
	if (w->leaf && w->leaf != leaf) {
		if (!klp_unw_leaf_returns(w->leaf, up.pc))
			return KLP_UNW_REG_UNKNOWN;
		w->leaf = NULL;
	}
	if (row->ra_signed)
		up.pc &= w->arch->ra_mask;
	/* A return address below sp was popped already: whatever the table says, it is not where this returns to. */
	if (row->rule[w->arch->ra].kind == KLP_UNW_RULE_OFFSET && !row->signal &&
	    cfa + (uint64_t)row->rule[w->arch->ra].off < sp)
		return KLP_UNW_OUT_OF_STACK;
	for (unsigned reg = 0; reg < w->arch->regs; reg++) {
		if (reg == w->arch->ra || reg == w->arch->sp)
			continue;
		/* A register whose place cannot be trusted is unknown; it matters only if a later row needs it. */
		if (klp_walk_rule(w, row, regs, cfa, reg, &up.r[reg], &known) == KLP_OK && known)
			up.known |= (uint64_t)1 << reg;
	}
	up.r[w->arch->sp] = cfa;
	if (row->rule[w->arch->sp].kind != KLP_UNW_RULE_DEFAULT) {
		rc = klp_walk_rule(w, row, regs, cfa, w->arch->sp, &up.r[w->arch->sp], &known);
		if (rc != KLP_OK)
			return rc;
		if (!known)
			return KLP_UNW_REG_UNKNOWN;
	}
	up.known |= (uint64_t)1 << w->arch->sp;
	/* What a link register holds behind a call is of no use: who called has saved what it returns to. */
	if (!w->arch->ra_is_link) {
		up.known |= (uint64_t)1 << w->arch->ra;
		up.r[w->arch->ra] = up.pc;
	}
	w->last = cfa;
	if (row->signal)
		klp_walk_interrupted(w, sp, up.r[w->arch->sp]);
	*regs = up;
	return KLP_OK;
}

/* Over a signal frame by the kernel's own layout, where its rows do not say all. */
static enum klp_reason klp_walk_context(struct klp_walk *w, struct klp_unw_frame *f, struct klp_unw_regs *regs)
{
	const struct klp_unw_context *c;
	struct klp_unw_regs up = {0};
	uint64_t sp = regs->r[w->arch->sp];
	uint8_t code[8];

	if (w->read(w->ctx, regs->pc, code, sizeof(code)))
		return KLP_UNW_BAD_ROW;
	c = w->arch->signal_context(code, sizeof(code));
	if (!c)
		return KLP_UNW_BAD_ROW;
	if (sp + c->size < sp || (w->own && !klp_walk_in_own(w, sp + c->size)))
		return KLP_UNW_OUT_OF_STACK;
	for (unsigned i = 0; i < c->count; i++)
		if (w->read(w->ctx, sp + c->regs + 8ull * i, &up.r[c->first + i], 8))
			return KLP_UNW_OUT_OF_STACK;
	if (w->read(w->ctx, sp + c->sp, &up.r[w->arch->sp], 8) || w->read(w->ctx, sp + c->pc, &up.pc, 8))
		return KLP_UNW_OUT_OF_STACK;
	up.known = (((uint64_t)1 << c->count) - 1) << c->first | (uint64_t)1 << w->arch->sp;
	klp_walk_interrupted(w, sp, up.r[w->arch->sp]);
	*regs = up;
	f->signal = true;
	f->cfa = up.r[w->arch->sp];
	return KLP_OK;
}

/*
 * A handler returns to the first instruction of the kernel's trampoline, which no call stands before. x86_64's C
 * libraries begin its rows a byte early, so that pc - 1 finds them. riscv's kernel does not
 * (arch/riscv/kernel/vdso/rt_sigreturn.S), and arm64's has no rows for it at all: there the code decides, for whatever
 * returns to these instructions goes on in the context above its stack pointer. If a function ends right before, its
 * last instruction may be a call that does not return: *other.
 */
static bool klp_walk_from_handler(const struct klp_walk *w, uint64_t pc, bool *other)
{
	const struct klp_unw_cached *c;
	uint8_t code[8];

	if (!w->arch->signal_context)
		return false;
	c = klp_unw_find_row(w->s, pc - 1);
	*other = c->fde != NULL;
	if (c->object < 0 || (*other && pc < c->fde->end))
		return false;
	return !w->read(w->ctx, pc, code, sizeof(code)) && w->arch->signal_context(code, sizeof(code));
}

/* Is the frame where the C library makes its calls? */
static const struct klp_unw_leaf *klp_walk_leaf(const struct klp_walk *w, const struct klp_unw_frame *f)
{
	const struct klp_unw_leaf *leaf = f->object >= 0 ? &w->s->image[f->object].leaf : NULL;

	return leaf && leaf->at && f->pc == leaf->at ? leaf : NULL;
}

static bool klp_walk_in_span(const struct klp_unw_space *s, uint64_t lookup)
{
	for (size_t i = 0; i < s->span_count; i++)
		if (lookup >= s->span[i].start && lookup < s->span[i].end)
			return true;
	return false;
}

static enum klp_reason klp_walk_end(const struct klp_walk *w, const struct klp_unw_fde *fde, uint64_t cfa)
{
	const struct klp_unw_thread *th = w->th;
	enum klp_unw_end_kind want = th->main_thread ? KLP_UNW_END_MAIN : KLP_UNW_END_THREAD;

	if (fde->end_kind != want || !th->stack_high || !w->own)
		return KLP_UNW_NO_END;
	if (cfa > th->stack_high)
		return cfa - th->stack_high <= 16 ? KLP_OK : KLP_UNW_NO_END;
	return th->stack_high - cfa <= th->top_slack ? KLP_OK : KLP_UNW_NO_END;
}

static bool klp_row_looks_for(const struct klp_unw_row *row, uint64_t regs)
{
	for (unsigned i = 0; i < KLP_UNW_REGS; i++)
		if ((regs >> i & 1) && row->rule[i].kind == KLP_UNW_RULE_OFFSET)
			return true;
	return false;
}

/*
 * Do rows say, somewhere from `from` to the PC, that the registers are restored? Then the loads there are of an
 * epilogue that the rows describe, and what they say of the code behind it is meant. gcc says it when the stack pointer
 * is back, a few instructions behind the load; till then the frame still holds the values.
 */
static bool klp_walk_restored(const struct klp_walk *w, uint64_t from, uint64_t pc, uint64_t regs)
{
	for (uint64_t at = from; at <= pc; at += w->arch->insn_step) {
		const struct klp_unw_cached *c = klp_unw_find_row(w->s, at);

		if (c->reason == KLP_OK && !klp_row_looks_for(&c->row, regs))
			return true;
	}
	return false;
}

/*
 * Does a row come too late? At a PC that was reached by no call any instruction may be next, and compilers move an
 * addition to the stack pointer without its row (clang 14, above the comparison of a conditional tail call). So
 * wherever one stands shortly before the PC the rows at its two ends must differ by as much; and where the frame
 * pointer or the return address has been loaded back (clang's epilogues on aarch64 have no rows at all), a row behind
 * must say so. Found without decoding:
 * bytes that only look like one make the stack unreliable, no more. Code that the reader does not serve is taken at its
 * rows' word.
 */
static bool klp_walk_late(const struct klp_walk *w, const struct klp_unw_cached *here)
{
	bool by_sp = here->row.cfa_kind == KLP_UNW_CFA_REG && here->row.cfa_reg == w->arch->sp;
	uint64_t pc = here->lookup, from = here->fde->start;
	uint8_t code[KLP_UNW_LATE_MAX];
	size_t len, insn;

	if (pc - from > w->arch->late_bytes)
		from = pc - w->arch->late_bytes;
	len = (size_t)(pc - from);
	if (!len || w->read(w->ctx, from, code, len))
		return false;
	/* A piece of one instruction and a piece of the next are none, where instructions are aligned. */
	for (size_t i = -from & (w->arch->insn_step - 1); i < len; i += w->arch->insn_step) {
		uint64_t reloads = w->arch->reloads ? w->arch->reloads(code + i, len - i, &insn) : 0;
		int64_t adds;
		struct klp_unw_row before;
		const struct klp_unw_cached *c;

		if (reloads) {
			c = klp_unw_find_row(w->s, from + i + insn);
			if (c->reason == KLP_OK && klp_row_looks_for(&c->row, reloads) &&
			    !klp_walk_restored(w, from + i + insn, pc, reloads))
				return true;
		}
		adds = by_sp ? w->arch->sp_adds(code + i, len - i, &insn) : 0;
		if (!adds)
			continue;
		c = klp_unw_find_row(w->s, from + i);
		before = c->row;
		if (c->reason != KLP_OK || before.cfa_kind != KLP_UNW_CFA_REG || before.cfa_reg != w->arch->sp)
			continue;
		c = klp_unw_find_row(w->s, from + i + insn);
		if (c->reason != KLP_OK || c->row.cfa_kind != KLP_UNW_CFA_REG || c->row.cfa_reg != w->arch->sp ||
		    c->row.cfa_off != before.cfa_off - adds)
			return true;
	}
	return false;
}

/*
 * libgcc's _Unwind_RaiseException, _Unwind_Resume and their like write the registers and the return address of the
 * frame that catches over their own saved ones, before they leave for its landing pad. From then on their frame looks
 * as if that frame's caller had called it: the one that the thread goes to is not in the trace. Where they have not
 * done it yet cannot be seen, so their frames are never crossed.
 */
static bool klp_walk_hides(const struct klp_walk *w, const struct klp_unw_row *row)
{
	uint64_t saved = 0;

	for (unsigned reg = 0; reg < w->arch->regs; reg++)
		if (row->rule[reg].kind == KLP_UNW_RULE_OFFSET)
			saved |= (uint64_t)1 << reg;
	return !row->signal && w->arch->landing && (saved & w->arch->landing) == w->arch->landing;
}

void klp_unw_walk(const struct klp_unw_space *s, const struct klp_unw_regs *regs, const struct klp_unw_thread *th,
		  klp_unw_read_fn read, void *ctx, struct klp_unw_trace *t)
{
	struct klp_walk w = {.s = s, .arch = s->arch, .th = th, .read = read, .ctx = ctx, .low = th->stack_low};
	struct klp_unw_regs cur = *regs;
	bool called = regs->called;

	t->count = 0;
	t->frame_no = 0;
	t->verdict = KLP_UNW_REG_UNKNOWN;
	if (!klp_known(&cur, w.arch->sp))
		return;
	/* The PC is always known; its column is an ordinary register for the rules. */
	if (!w.arch->ra_is_link) {
		cur.r[w.arch->ra] = cur.pc;
		cur.known |= (uint64_t)1 << w.arch->ra;
	}
	w.own = klp_walk_in_own(&w, cur.r[w.arch->sp]);
	while (t->count < KLP_UNW_MAX_FRAMES) {
		struct klp_unw_frame *f = &t->frame[t->count];
		const struct klp_unw_cached *c;
		const struct klp_unw_fde *fde;
		struct klp_unw_row row;
		uint64_t cfa = 0, sp = cur.r[w.arch->sp];
		bool ambiguous;

		*f = (struct klp_unw_frame){.pc = cur.pc, .lookup = cur.pc - called, .sp = sp, .object = -1};
		t->frame_no = t->count++;
		t->verdict = KLP_UNW_NO_END;
		/* Where a stack was cut off by hand, as for a coroutine: no end that anybody vouches for. */
		if (!cur.pc)
			return;
		t->verdict = KLP_UNW_IN_TRAMPOLINE;
		if (klp_walk_in_span(s, f->lookup))
			return;
		if (called && klp_walk_from_handler(&w, cur.pc, &ambiguous)) {
			f->lookup = cur.pc;
			f->object = klp_unw_find_row(s, cur.pc)->object;
			t->verdict = ambiguous ? KLP_UNW_BAD_ROW : klp_walk_context(&w, f, &cur);
			if (t->verdict != KLP_OK)
				return;
			called = false;
			continue;
		}
		c = klp_unw_find_row(s, f->lookup);
		f->object = c->object;
		if (c->fde) {
			f->fde_start = c->fde->start;
			f->fde_end = c->fde->end;
		}
		t->verdict = c->reason;
		if (c->reason != KLP_OK)
			return;
		row = c->row; /* the cache's own may be another one soon */
		f->signal = row.signal;
		fde = c->fde;
		t->verdict = KLP_UNW_CALLER_HIDDEN;
		if (klp_walk_hides(&w, &row))
			return;
		t->verdict = KLP_UNW_BAD_ROW;
		if (!called && !row.signal &&
		    (w.arch->reloads || (row.cfa_kind == KLP_UNW_CFA_REG && row.cfa_reg == w.arch->sp))) {
			struct klp_unw_cached here = *c;

			if (klp_walk_late(&w, &here))
				return;
		}
		if (row.signal && w.arch->signal_context) {
			t->verdict = klp_walk_context(&w, f, &cur);
			if (t->verdict != KLP_OK)
				return;
			called = false;
			continue;
		}
		t->verdict = klp_walk_cfa(&w, &row, &cur, &cfa);
		if (t->verdict != KLP_OK)
			return;
		f->cfa = cfa;
		if (row.rule[row.ra].kind == KLP_UNW_RULE_UNDEFINED) {
			t->verdict = klp_walk_end(&w, fde, cfa);
			return;
		}
		t->verdict = KLP_UNW_NO_END;
		if (fde->end_kind != KLP_UNW_END_NONE)
			return;
		/* A signal frame's CFA is the stack that it interrupted, which can be any. */
		t->verdict = KLP_UNW_NOT_MONOTONIC;
		if (!row.signal && (cfa <= w.last || cfa < sp || (called && cfa == sp)))
			return;
		t->verdict = KLP_UNW_OUT_OF_STACK;
		if (!row.signal && w.own && !klp_walk_in_own(&w, cfa))
			return;
		t->verdict = klp_walk_step(&w, &row, cfa, called ? NULL : klp_walk_leaf(&w, f), &cur);
		if (t->verdict != KLP_OK)
			return;
		called = !row.signal;
	}
	t->verdict = KLP_LIMIT;
}
