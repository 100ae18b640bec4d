/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the CFA program of an FDE up to an address: one row of the unwind table (DWARF 5, 6.4.2). */
#include <string.h>

#include "unwind/internal.h"

struct klp_cfa_state {
	uint8_t kind, reg;
	bool ra_signed;
	int64_t off;
	struct klp_unw_rule rule[KLP_UNW_REGS];
};

struct klp_cfa_run {
	const struct klp_unw_arch *arch;
	const struct klp_unw_image *im;
	const struct klp_unw_cie *cie;
	uint64_t loc, lookup;
	unsigned ops, depth;
	struct klp_cfa_state now, initial;
	struct klp_cfa_state saved[KLP_UNW_MAX_STATES];
};

/* Rules of registers that are not tracked (vectors, flags) are read over. */
static void klp_cfa_set(struct klp_cfa_run *r, uint64_t reg, enum klp_unw_rule_kind kind, uint8_t from, int64_t off)
{
	if (reg < r->arch->regs)
		r->now.rule[reg] = (struct klp_unw_rule){.kind = (uint8_t)kind, .reg = from, .off = off};
}

static bool klp_cfa_scale(int64_t v, int64_t by, int64_t *out)
{
	return !__builtin_mul_overflow(v, by, out);
}

static bool klp_cfa_unsigned(struct klp_cfa_run *r, struct klp_cursor *c, int64_t *out)
{
	uint64_t v = klp_cursor_uleb(c);

	return !c->bad && v <= INT64_MAX && klp_cfa_scale((int64_t)v, r->cie->data_align, out);
}

static bool klp_cfa_signed(struct klp_cfa_run *r, struct klp_cursor *c, int64_t *out)
{
	int64_t v = klp_cursor_sleb(c);

	return !c->bad && klp_cfa_scale(v, r->cie->data_align, out);
}

/* A block that is DW_OP_bregN off, with DW_OP_deref behind it or not: all that compilers (a realigned stack) and libc
 * (a signal frame) need. Anything else is refused but for the PLT's. */
static bool klp_cfa_block(struct klp_cfa_run *r, struct klp_cursor *c, bool deref, uint8_t *reg, int64_t *off,
			  bool *plt)
{
	uint64_t len = klp_cursor_uleb(c);
	struct klp_cursor x = *c;
	uint64_t op;

	klp_cursor_skip(c, len);
	if (c->bad)
		return false;
	x.end = c->pos;
	if (plt) {
		*plt = r->arch->plt_expr && len == r->arch->plt_expr_len &&
		       !memcmp(x.base + x.pos, r->arch->plt_expr, r->arch->plt_expr_len);
		if (*plt)
			return true;
	}
	op = klp_cursor_uint(&x, 1);
	if (op < 0x70 || op > 0x8f || op - 0x70 >= r->arch->regs)
		return false;
	*reg = (uint8_t)(op - 0x70);
	*off = klp_cursor_sleb(&x);
	if (deref && klp_cursor_uint(&x, 1) != 0x06)
		return false;
	return !x.bad && x.pos == x.end;
}

/* false: the row that is looked for lies before the new location, so the current one is it */
static bool klp_cfa_advance(struct klp_cfa_run *r, uint64_t delta, bool *bad)
{
	uint64_t step, loc;

	if (__builtin_mul_overflow(delta, r->cie->code_align, &step) || __builtin_add_overflow(r->loc, step, &loc)) {
		*bad = true;
		return false;
	}
	if (loc > r->lookup)
		return false;
	r->loc = loc;
	return true;
}

static bool klp_cfa_run(struct klp_cfa_run *r, size_t insn, size_t insn_end)
{
	struct klp_cursor c = {.base = r->im->eh_frame, .pos = insn, .end = insn_end, .addr = r->im->eh_frame_addr};
	bool bad = false, plt;
	uint64_t reg, v;
	int64_t off;
	uint8_t from;

	while (c.pos < c.end) {
		uint8_t op = (uint8_t)klp_cursor_uint(&c, 1);

		if (++r->ops > KLP_UNW_MAX_OPS)
			return false;
		switch (op & 0xc0) {
		case 0x40: /* advance_loc */
			if (!klp_cfa_advance(r, op & 0x3f, &bad))
				return !bad;
			continue;
		case 0x80: /* offset */
			if (!klp_cfa_unsigned(r, &c, &off))
				return false;
			klp_cfa_set(r, op & 0x3f, KLP_UNW_RULE_OFFSET, 0, off);
			continue;
		case 0xc0: /* restore */
			if ((op & 0x3fu) < r->arch->regs)
				r->now.rule[op & 0x3f] = r->initial.rule[op & 0x3f];
			continue;
		default:
			break;
		}
		switch (op) {
		case 0x00: /* nop */
			break;
		case 0x01: /* set_loc */
			v = klp_cursor_pointer(&c, r->cie->fde_enc, r->im->hdr_addr);
			if (c.bad || v < r->loc)
				return false;
			if (v > r->lookup)
				return true;
			r->loc = v;
			break;
		case 0x02: /* advance_loc1, 2, 4 */
		case 0x03:
		case 0x04:
			v = klp_cursor_uint(&c, 1u << (op - 2));
			if (c.bad)
				return false;
			if (!klp_cfa_advance(r, v, &bad))
				return !bad;
			break;
		case 0x05: /* offset_extended */
			reg = klp_cursor_uleb(&c);
			if (!klp_cfa_unsigned(r, &c, &off))
				return false;
			klp_cfa_set(r, reg, KLP_UNW_RULE_OFFSET, 0, off);
			break;
		case 0x06: /* restore_extended */
			reg = klp_cursor_uleb(&c);
			if (!c.bad && reg < r->arch->regs)
				r->now.rule[reg] = r->initial.rule[reg];
			break;
		case 0x07: /* undefined */
			klp_cfa_set(r, klp_cursor_uleb(&c), KLP_UNW_RULE_UNDEFINED, 0, 0);
			break;
		case 0x08: /* same_value */
			klp_cfa_set(r, klp_cursor_uleb(&c), KLP_UNW_RULE_SAME, 0, 0);
			break;
		case 0x09: /* register */
			reg = klp_cursor_uleb(&c);
			v = klp_cursor_uleb(&c);
			if (c.bad || v >= r->arch->regs)
				return false;
			klp_cfa_set(r, reg, KLP_UNW_RULE_REGISTER, (uint8_t)v, 0);
			break;
		case 0x0a: /* remember_state */
			if (r->depth == KLP_UNW_MAX_STATES)
				return false;
			r->saved[r->depth++] = r->now;
			break;
		case 0x0b: /* restore_state */
			if (!r->depth)
				return false;
			r->now = r->saved[--r->depth];
			break;
		case 0x0c: /* def_cfa, def_cfa_sf */
		case 0x12:
			reg = klp_cursor_uleb(&c);
			if (op == 0x12) {
				if (!klp_cfa_signed(r, &c, &off))
					return false;
			} else {
				v = klp_cursor_uleb(&c);
				off = (int64_t)v;
				if (v > INT64_MAX)
					return false;
			}
			if (c.bad || reg >= r->arch->regs)
				return false;
			r->now.kind = KLP_UNW_CFA_REG;
			r->now.reg = (uint8_t)reg;
			r->now.off = off;
			break;
		case 0x0d: /* def_cfa_register */
			reg = klp_cursor_uleb(&c);
			if (c.bad || reg >= r->arch->regs ||
			    (r->now.kind != KLP_UNW_CFA_REG &&
			     !(r->now.kind == KLP_UNW_CFA_NONE && r->arch->cfa_register_first)))
				return false;
			r->now.kind = KLP_UNW_CFA_REG;
			r->now.reg = (uint8_t)reg;
			break;
		case 0x0e: /* def_cfa_offset */
			v = klp_cursor_uleb(&c);
			if (c.bad || v > INT64_MAX || r->now.kind != KLP_UNW_CFA_REG)
				return false;
			r->now.off = (int64_t)v;
			break;
		case 0x13: /* def_cfa_offset_sf */
			if (!klp_cfa_signed(r, &c, &off) || r->now.kind != KLP_UNW_CFA_REG)
				return false;
			r->now.off = off;
			break;
		case 0x0f: /* def_cfa_expression */
			from = 0;
			off = 0;
			if (!klp_cfa_block(r, &c, true, &from, &off, &plt))
				return false;
			r->now.kind = plt ? KLP_UNW_CFA_PLT : KLP_UNW_CFA_DEREF;
			r->now.reg = from;
			r->now.off = off;
			break;
		case 0x10: /* expression */
			reg = klp_cursor_uleb(&c);
			if (!klp_cfa_block(r, &c, false, &from, &off, NULL))
				return false;
			klp_cfa_set(r, reg, KLP_UNW_RULE_ADDRESS, from, off);
			break;
		case 0x11: /* offset_extended_sf */
			reg = klp_cursor_uleb(&c);
			if (!klp_cfa_signed(r, &c, &off))
				return false;
			klp_cfa_set(r, reg, KLP_UNW_RULE_OFFSET, 0, off);
			break;
		case 0x14: /* val_offset, val_offset_sf */
		case 0x15:
			reg = klp_cursor_uleb(&c);
			if (op == 0x14 ? !klp_cfa_unsigned(r, &c, &off) : !klp_cfa_signed(r, &c, &off))
				return false;
			klp_cfa_set(r, reg, KLP_UNW_RULE_VAL_OFFSET, 0, off);
			break;
		case 0x2d: /* AARCH64_negate_ra_state; another machine's register windows */
			if (!r->arch->signs_ra)
				return false;
			r->now.ra_signed = !r->now.ra_signed;
			break;
		case 0x2e: /* GNU_args_size: for landing pads only */
			klp_cursor_uleb(&c);
			break;
		case 0x2f: /* GNU_negative_offset_extended */
			reg = klp_cursor_uleb(&c);
			if (!klp_cfa_unsigned(r, &c, &off) || off == INT64_MIN)
				return false;
			klp_cfa_set(r, reg, KLP_UNW_RULE_OFFSET, 0, -off);
			break;
		default: /* val_expression, and all that nobody defined */
			return false;
		}
		if (c.bad)
			return false;
	}
	return !c.bad;
}

enum klp_reason klp_unw_run_cfa(const struct klp_unw_arch *arch, const struct klp_unw_image *im,
				const struct klp_unw_entry *fde, uint64_t lookup, struct klp_unw_row *row)
{
	struct klp_cfa_run r;

	/* saved[] is written before it is read; the rest starts at zero. */
	memset(&r, 0, offsetof(struct klp_cfa_run, saved));
	r.arch = arch;
	r.im = im;
	r.cie = &fde->cie;
	r.loc = fde->start;
	r.lookup = lookup;
	if (fde->cie.ra != arch->ra || !klp_cfa_run(&r, fde->cie.insn, fde->cie.insn_end) || r.loc != fde->start)
		return KLP_UNW_BAD_ROW;
	r.initial = r.now;
	r.depth = 0;
	if (!klp_cfa_run(&r, fde->insn, fde->insn_end))
		return KLP_UNW_BAD_ROW;
	row->cfa_kind = r.now.kind;
	row->cfa_reg = r.now.reg;
	row->cfa_off = r.now.off;
	row->ra = (uint8_t)arch->ra;
	row->signal = fde->cie.signal;
	row->ra_signed = r.now.ra_signed;
	memcpy(row->rule, r.now.rule, sizeof(row->rule));
	/* Only a signal frame may say where the stack pointer comes from: elsewhere (longjmp, setcontext) the row
	 * describes where control will go, not who called. */
	if (!row->signal && row->rule[arch->sp].kind != KLP_UNW_RULE_DEFAULT)
		return KLP_UNW_BAD_ROW;
	return row->cfa_kind == KLP_UNW_CFA_NONE ? KLP_UNW_BAD_ROW : KLP_OK;
}
