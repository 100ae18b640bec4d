/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How code uses an address (Arm ARM DDI 0487, C4.1): which registers hold it, or something computed from it, on every
 * way from the instruction that makes it. What is not known here is an answer on the safe side.
 */
#include <string.h>
#include "tools/klp-build/objdiff/arch/aarch64/insn.h"
#include "tools/klp-build/objdiff/follow.h"

#define INSN 4u
#define ARGUMENTS 8u     /* registers that carry arguments and results */
#define KEPT 0x3ff80000u /* x19 to x29: a call preserves them */
#define ZERO 31u         /* xzr or sp */

static bool word_at(const struct od_sec *s, uint64_t off, uint32_t *w)
{
	if (!s->data || off % INSN || off > s->size || s->size - off < INSN)
		return false;
	memcpy(w, s->data + off, INSN);
	return true;
}

/* The instruction that the relocation is in. */
static bool insn_of(const struct od_sec *s, const struct od_rel *r, uint32_t *w)
{
	return s->kind == OD_CODE && word_at(s, r->off, w);
}

enum od_use od_aarch64_use(const struct od_sec *s, const struct od_rel *r)
{
	uint32_t w;

	if (!insn_of(s, r, &w))
		return OD_USE_ADDRESS;
	switch (r->type) {
	case R_AARCH64_CALL26:
	case R_AARCH64_JUMP26:
		return a64_is_branch26(w) ? OD_USE_CALL : OD_USE_ADDRESS;
	case R_AARCH64_CONDBR19:
		return a64_is_branch19(w) ? OD_USE_CALL : OD_USE_ADDRESS;
	case R_AARCH64_TSTBR14:
		return a64_is_branch14(w) ? OD_USE_CALL : OD_USE_ADDRESS;
	case R_AARCH64_LD_PREL_LO19:
	case R_AARCH64_LDST8_ABS_LO12_NC:
	case R_AARCH64_LDST16_ABS_LO12_NC:
	case R_AARCH64_LDST32_ABS_LO12_NC:
	case R_AARCH64_LDST64_ABS_LO12_NC:
	case R_AARCH64_LDST128_ABS_LO12_NC:
		return OD_USE_LOAD;
	default:
		return OD_USE_ADDRESS;
	}
}

/* Only adr is resolved by the assembler: a page needs the linker. */
bool od_aarch64_own_address(const struct od_sec *s, uint64_t from, struct od_rel *r)
{
	uint64_t entry = s->sym ? s->obj->sym[s->sym].value : 0;
	uint32_t w;

	for (uint64_t at = (from + INSN - 1) & ~(uint64_t)(INSN - 1); word_at(s, at, &w); at += INSN)
		if (at >= entry && a64_is_adr(w) && at + a64_adr_offset(w) == entry) {
			*r = (struct od_rel){at, R_AARCH64_ADR_PREL_LO21, s->sym, 0, 0, false};
			return true;
		}
	return false;
}

static const struct od_rel *rel_at(const struct od_sec *s, uint64_t off)
{
	size_t i = od_rel_from(s, off);

	return i < s->rel_count && s->rel[i].off == off ? &s->rel[i] : NULL;
}

static bool in(uint32_t set, unsigned reg)
{
	return reg != ZERO && set >> reg & 1;
}

static void assign_exact(struct od_step *t, unsigned reg, bool tainted, bool exact)
{
	if (reg == ZERO)
		return;
	t->taint = tainted ? t->taint | 1u << reg : t->taint & ~(1u << reg);
	t->exact = exact ? t->exact | 1u << reg : t->exact & ~(1u << reg);
}

static void assign(struct od_step *t, unsigned reg, bool tainted)
{
	assign_exact(t, reg, tainted, false);
}

/* Arguments that a call may pass on. */
static bool passes(const struct od_sec *s, uint64_t at, uint32_t taint)
{
	const struct od_rel *r = rel_at(s, at);
	const struct od_sym *y = r ? &s->obj->sym[r->sym] : NULL;
	unsigned n = y && y->outside ? od_argument_count(y->name) : OD_ALL_ARGUMENTS;

	/* x8 says where a result goes, which nobody keeps. */
	return taint & ((1u << (n < ARGUMENTS ? n : ARGUMENTS)) - 1);
}

/* To the function's own other part, where every register goes on. */
static bool stays_inside(const struct od_sec *s, uint64_t at)
{
	const struct od_rel *r = rel_at(s, at);
	uint32_t in = r ? s->obj->sym[r->sym].shndx : 0;

	return in && in < s->obj->sec_count && (s->obj->sec[in].hot == s || s->hot == &s->obj->sec[in]);
}

static void step_branch(const struct od_sec *s, uint64_t at, uint32_t w, struct od_step *t)
{
	unsigned rn = w >> 5 & 31;
	bool outward = rel_at(s, at) != NULL;

	if (a64_is_branch26(w) && w >> 31) { /* bl */
		t->escapes = passes(s, at, t->taint);
		t->taint &= KEPT;
	} else if (a64_is_branch26(w) || a64_is_branch19(w) || a64_is_branch14(w)) {
		unsigned bits = a64_is_branch26(w) ? 26 : a64_is_branch14(w) ? 14 : 19;

		t->ends = a64_is_branch26(w);
		t->jumps = !outward;
		t->target = at + a64_signed(w, bits == 26 ? 0 : 5, bits) * 4;
		if (outward && (!a64_is_branch26(w) || stays_inside(s, at)))
			t->escapes = t->taint; /* the other part is not followed */
		else if (outward)              /* a tail call */
			t->escapes = t->taint & KEPT || passes(s, at, t->taint);
	} else if ((w & 0xfffffc1fu) == 0xd63f0000u ||
		   (w & 0xfefff800u) == 0xd63f0800u) { /* blr and those that authenticate */
		t->escapes = in(t->taint, rn) || passes(s, at, t->taint);
		t->taint &= KEPT;
	} else if ((w & 0xfffffc1fu) == 0xd65f0000u || (w & 0xfffffbffu) == 0xd65f0bffu) { /* ret, retaa, retab */
		t->escapes = t->taint & (KEPT | ((1u << ARGUMENTS) - 1));
		t->ends = true;
	} else if ((w & 0xff000000u) == 0xd4000000u) { /* svc, brk, ... */
		/* Who catches the signal of brk may go on behind it (__builtin_debugtrap); a compiler's trap may be a
		 * function's last. */
		t->escapes = (w & 0xffe0001fu) != 0xd4200000u && t->taint;
		t->ends = (w & 0xffe0001fu) == 0xd4200000u && at + INSN == s->size;
	} else if ((w & 0xfffff01fu) == 0xd503201fu || (w & 0xfffff01fu) == 0xd503301fu ||
		   (w & 0xfffff0ffu) == 0xd50330ffu || (w & 0xfffff0ffu) == 0xd50330bfu ||
		   (w & 0xfffff0ffu) == 0xd503309fu || (w & 0xfffff0ffu) == 0xd50330dfu) {
		/* hints and barriers */
	} else if ((w & 0xfff00000u) == 0xd5300000u) { /* mrs */
		assign(t, w & 31, false);
	} else {
		t->escapes = t->taint; /* br: it may lead anywhere */
	}
}

static void step_immediate(uint32_t w, struct od_step *t)
{
	unsigned rd = w & 31, rn = w >> 5 & 31, group = w >> 23 & 7;
	bool tainted = in(t->taint, rn);

	switch (group) {
	case 0:
	case 1: /* adr, adrp */
		assign(t, rd, false);
		break;
	case 2:                 /* add, sub */
	case 4:                 /* and, orr, eor */
		if (rd == ZERO) /* a comparison, or the stack pointer */
			t->escapes = tainted && !(group == 2 ? w >> 29 & 1 : (w >> 29 & 3) == 3);
		else
			assign_exact(t, rd, tainted, group == 2 && w >> 31 && in(t->exact, rn));
		break;
	case 5: /* movn, movz, movk */
		if ((w >> 29 & 3) != 3)
			assign(t, rd, false);
		break;
	case 6: /* bit fields: bfm keeps bits of the old value */
		assign(t, rd, tainted || ((w >> 29 & 3) == 1 && in(t->taint, rd)));
		break;
	case 7:
		assign(t, rd, tainted || in(t->taint, w >> 16 & 31));
		break;
	default:
		t->escapes = t->taint;
		break;
	}
}

static void step_register(uint32_t w, struct od_step *t)
{
	unsigned rd = w & 31, rn = w >> 5 & 31, rm = w >> 16 & 31, ra = w >> 10 & 31;
	bool n = in(t->taint, rn), m = in(t->taint, rm), sub = w >> 30 & 1;
	bool en = in(t->exact, rn), em = in(t->exact, rm);

	if ((w & 0x1f000000u) == 0x0a000000u || (w & 0x1f000000u) == 0x0b000000u) { /* logical; add and sub */
		bool plain = w >> 31 && !(w & (w >> 24 & 1 ? 0x20fc00u : 0xfc00u)); /* all of it, as it is */

		if (rd == ZERO)
			t->escapes = (n || m) && !(en && em); /* compared with what may be another address */
		else if (w >> 24 & 1 && sub)                  /* a distance is no address */
			assign_exact(t, rd, (n || m) && !(plain && (rn == rm || (en && em))), w >> 31 && en && !m);
		else if (w >> 24 & 1)
			assign_exact(t, rd, n || m, n ? w >> 31 && en && !m : plain && em);
		else /* mov is orr of zero */
			assign_exact(t, rd, n || m, (w & 0x7fe0ffe0u) == 0x2a0003e0u && plain && em);
	} else if ((w & 0x1fe00000u) == 0x1a800000u || (w & 0x5fe00000u) == 0x1ac00000u ||
		   (w & 0x1fe00000u) == 0x1a000000u) { /* csel; two sources; adc, sbc */
		assign(t, rd, n || m);
	} else if ((w & 0x5fe00000u) == 0x5ac00000u) { /* one source */
		assign(t, rd, n);
	} else if ((w & 0x1f000000u) == 0x1b000000u) { /* multiplications */
		assign(t, rd, n || m || in(t->taint, ra));
	} else if ((w & 0x1fe00000u) == 0x1a400000u) { /* ccmp, ccmn */
		t->escapes = n || (!(w >> 11 & 1) && m);
	} else {
		t->escapes = t->taint;
	}
}

/* Vector registers are not followed: nothing may get there. */
static void step_vector(uint32_t w, struct od_step *t)
{
	bool from_general =
	    (w & 0x5f20fc00u) == 0x1e200000u || (w & 0x5f200000u) == 0x1e000000u || (w & 0x9fe08400u) == 0x0e000400u;

	t->escapes = from_general && in(t->taint, w >> 5 & 31);
}

static void step_memory(uint32_t w, struct od_step *t)
{
	unsigned rt = w & 31, rt2 = w >> 10 & 31, rs = w >> 16 & 31;
	bool vector = w >> 26 & 1, load = w >> 22 & 1;

	if ((w & 0x3b000000u) == 0x18000000u) { /* a literal */
		if (!vector)
			assign(t, rt, false);
	} else if ((w & 0x3a000000u) == 0x28000000u) { /* pairs */
		if (vector)
			return;
		t->escapes = !load && (in(t->taint, rt) || in(t->taint, rt2));
		if (load) {
			assign(t, rt, false);
			assign(t, rt2, false);
		}
	} else if ((w & 0x3b000000u) == 0x39000000u ||
		   ((w & 0x3b000000u) == 0x38000000u && (!(w >> 21 & 1) || (w >> 10 & 3) == 2))) {
		if (vector || (w & 0xc0c00000u) == 0xc0800000u) /* prfm */
			return;
		load = w >> 22 & 3;
		t->escapes = !load && in(t->taint, rt);
		if (load)
			assign(t, rt, false);
	} else if ((w & 0x3b200c00u) == 0x38200000u && !vector) { /* atomics: rs is stored */
		t->escapes = in(t->taint, rs);
		assign(t, rt, false);
	} else if ((w & 0x3f000000u) == 0x08000000u) { /* exclusive, ordered, compare and swap */
		t->escapes = in(t->taint, rs) || in(t->taint, rt) || in(t->taint, rt2);
		assign(t, rt, false);
	} else if ((w & 0xbf000000u) != 0x0c000000u && (w & 0xbf000000u) != 0x0d000000u) { /* not vectors' structures */
		t->escapes = t->taint;
	}
}

static void step(const struct od_sec *s, uint64_t at, uint32_t w, struct od_step *t)
{
	switch (w >> 25 & 15) {
	case 8:
	case 9:
		step_immediate(w, t);
		break;
	case 10:
	case 11:
		step_branch(s, at, w, t);
		break;
	case 4:
	case 6:
	case 12:
	case 14:
		step_memory(w, t);
		break;
	case 5:
	case 13:
		step_register(w, t);
		break;
	case 7:
	case 15:
		step_vector(w, t);
		break;
	default:
		t->ends = !(w >> 16); /* udf */
		t->escapes = !t->ends && t->taint;
		break;
	}
}

/* The low half of the same reference: its own walk follows what it makes of the page. */
static bool is_other_half(const struct od_sec *s, uint64_t at, const struct od_rel *high)
{
	const struct od_rel *r = rel_at(s, at);
	struct od_rel_info i, h;

	if (!r || r->sym != high->sym)
		return false;
	i = od_rel_info(s, r);
	h = od_rel_info(s, high);
	return h.half == OD_HALF_HIGH && i.half == OD_HALF_LOW && i.class == h.class;
}

#define SWITCH_LENGTH 8u /* instructions from the load of a table's entry to the jump, at most */

/*
 * A switch: `ldrb w1, [table, n]; add x2, x3, w1, sxtb #2; br x2`. Its table is the compiler's, nothing else can know
 * its address, and who jumps by it does not keep it.
 */
static bool is_switch(const struct od_sec *s, uint64_t br, const uint32_t *taint, const struct od_rel *made)
{
	uint32_t to = s->obj->sym[made->sym].shndx, sought, w;

	if (!to || to >= s->obj->sec_count || s->obj->sec[to].kind != OD_ANON || !word_at(s, br * INSN, &w) ||
	    (w & 0xfffffc1fu) != 0xd61f0000u)
		return false;
	sought = 1u << (w >> 5 & 31);
	for (uint64_t at = br; at-- > 0 && br - at <= SWITCH_LENGTH;) {
		if (!word_at(s, at * INSN, &w))
			return false;
		if ((w & 0x1f000000u) == 0x0b000000u && in(sought, w & 31)) /* add, of either kind */
			sought |= 1u << (w >> 5 & 31) | 1u << (w >> 16 & 31);
		else if ((w & 0x3b200c00u) == 0x38200800u && w >> 22 & 3 && in(sought, w & 31) &&
			 in(taint[at], w >> 5 & 31))
			return true;
	}
	return false;
}

static bool follow_step(const struct od_sec *s, uint64_t at, const uint32_t *seen, void *ctx, struct od_step *t)
{
	const struct od_rel *made = ctx;
	uint32_t w;

	if (!word_at(s, at, &w))
		return false;
	/* the unwinder takes them to a landing pad */
	t->escapes = s->pads && t->taint & KEPT;
	if (t->escapes)
		return true;
	if (is_other_half(s, at, made)) {
		assign(t, w & 31, false);
		return true;
	}
	step(s, at, w, t);
	if (t->escapes && is_switch(s, at / INSN, seen, made))
		*t = (struct od_step){.len = INSN};
	return true;
}

/* Follows the address from behind `from`, where it is in register `reg`. */
static bool walk(const struct od_sec *s, uint64_t from, unsigned reg, const struct od_rel *made)
{
	return reg != ZERO && od_follow(s, (from & ~(uint64_t)(INSN - 1)) + INSN, 1u << reg, INSN, follow_step,
					(void *)(uintptr_t)made);
}

bool od_aarch64_only_loads(const struct od_sec *s, const struct od_rel *r)
{
	uint32_t w;

	if (!insn_of(s, r, &w))
		return false;
	switch (r->type) {
	case R_AARCH64_LD_PREL_LO19:
	case R_AARCH64_LDST8_ABS_LO12_NC:
	case R_AARCH64_LDST16_ABS_LO12_NC:
	case R_AARCH64_LDST32_ABS_LO12_NC:
	case R_AARCH64_LDST64_ABS_LO12_NC:
	case R_AARCH64_LDST128_ABS_LO12_NC:
		return true;
	case R_AARCH64_ADR_PREL_LO21:
	case R_AARCH64_ADR_PREL_PG_HI21:
	case R_AARCH64_ADR_PREL_PG_HI21_NC:
	case R_AARCH64_ADR_GOT_PAGE:
	case R_AARCH64_ADD_ABS_LO12_NC:
	case R_AARCH64_LD64_GOT_LO12_NC:
		return walk(s, r->off, w & 31, r);
	default:
		return false;
	}
}
