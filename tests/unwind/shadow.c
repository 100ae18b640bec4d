/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unwind/shadow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unwind/space.h"

#define SHADOW_MAX 1000000u
#define SHADOW_HELD 12u /* vfork: the return address is in a register for as long */

/* struct rt_sigframe: the restorer's address, then the ucontext. */
#define FRAME_ALT_SP 24u
#define FRAME_ALT_SIZE 40u
#define FRAME_SP 168u
#define FRAME_PC 176u

static uint64_t shadow_word(uint64_t addr, shadow_read_fn read, void *ctx)
{
	uint64_t v;

	if (read(ctx, addr, &v, sizeof(v)))
		test_die("a stack that cannot be read");
	return v;
}

static struct shadow_entry *shadow_push(struct shadow *s, uint64_t slot, uint64_t ra)
{
	struct shadow_entry *grown;

	if (s->depth == SHADOW_MAX)
		test_die("the shadow stack is full");
	if (s->depth == s->room) {
		s->room = s->room ? s->room * 2 : 256;
		grown = realloc(s->at, s->room * sizeof(*grown));
		if (!grown)
			test_die("shadow stack");
		s->at = grown;
	}
	s->at[s->depth] = (struct shadow_entry){.slot = slot, .ra = ra};
	return &s->at[s->depth++];
}

/* A call to the next instruction that pops the address only asks for it; another one calls what lies behind it, as a
 * compiler lays out a function that ends in a call of one that does not return. */
static bool shadow_asks(uint64_t pc, shadow_read_fn read, void *ctx)
{
	uint8_t code[SHADOW_INSN_BYTES] = {0};
	struct shadow_insn insn;

	if (read(ctx, pc, code, 2)) /* with its prefix */
		test_die("code that cannot be read");
	shadow_decode(code, &insn);
	return insn.kind == SHADOW_POP;
}

static void shadow_pop(struct shadow *s)
{
	s->depth--;
	if (s->at[s->depth].signal)
		s->signal = s->at[s->depth].below;
}

void shadow_decode(const uint8_t *b, struct shadow_insn *insn)
{
	bool rep = false;
	unsigned i = 0, rex = 0;

	*insn = (struct shadow_insn){0};
	/* notrack, bnd, repz, and the addr32 that the linker pads a relaxed call with; then REX */
	for (; i < 4 && (b[i] == 0x3e || b[i] == 0xf2 || b[i] == 0xf3 || b[i] == 0x67 || b[i] == 0x66); i++)
		rep |= b[i] == 0xf3 || b[i] == 0xf2;
	if (b[i] >= 0x40 && b[i] <= 0x4f)
		rex = b[i++];
	if (b[i] == 0xe8 || (b[i] == 0xff && ((b[i + 1] >> 3) & 7) == 2))
		insn->kind = SHADOW_CALL;
	else if (b[i] == 0xc3 || b[i] == 0xc2)
		insn->kind = SHADOW_RET;
	else if (b[i] == 0x0f && b[i + 1] == 0x05)
		insn->kind = SHADOW_SYSCALL;
	else if (b[i] >= 0x50 && b[i] <= 0x5f)
		insn->kind = b[i] < 0x58 ? SHADOW_PUSH : SHADOW_POP;
	else
		insn->repeats = rep && ((b[i] >= 0xa4 && b[i] <= 0xa7) || (b[i] >= 0xaa && b[i] <= 0xaf));
	insn->reg = (b[i] & 7u) | (rex & 1u) << 3;
}

static bool shadow_in_alt(const struct shadow_entry *e, uint64_t sp)
{
	return sp >= e->alt_low && sp <= e->alt_high;
}

/* Does the innermost entry still count when the stack pointer is sp? */
static bool shadow_holds(const struct shadow *s, uint64_t sp)
{
	const struct shadow_entry *top = &s->at[s->depth - 1], *sig = s->signal ? &s->at[s->signal - 1] : NULL;

	if (sig && sig->switched)
		return shadow_in_alt(sig, sp) && (top->signal || top->slot >= sp);
	/* In the restorer the stack pointer is at the word behind the one that led there. */
	return top->signal ? sp <= top->frame + 8 : top->slot >= sp;
}

void shadow_step(struct shadow *s, const struct shadow_insn *insn, uint64_t sp, uint64_t new_sp, uint64_t new_pc,
		 shadow_read_fn read, void *ctx)
{
	const struct shadow_entry *top = s->depth ? &s->at[s->depth - 1] : NULL;
	const struct shadow_entry *sig = s->signal ? &s->at[s->signal - 1] : NULL;

	if (s->held_for) {
		s->held_for--;
		if (insn->kind == SHADOW_PUSH && insn->reg == s->held_reg && new_sp == top->slot) {
			s->held_for = 0;
			return;
		}
		if (insn->kind != SHADOW_RET && insn->kind != SHADOW_CALL && s->held_for && new_sp == sp &&
		    new_pc != top->ra)
			return;
		s->held_for = 0;
		while (s->depth && !shadow_holds(s, sp))
			shadow_pop(s);
		top = s->depth ? &s->at[s->depth - 1] : NULL;
		sig = s->signal ? &s->at[s->signal - 1] : NULL;
	}
	if (insn->kind == SHADOW_CALL && new_sp == sp - 8) {
		uint64_t ra = shadow_word(new_sp, read, ctx);

		if (ra != new_pc || !shadow_asks(new_pc, read, ctx))
			shadow_push(s, new_sp, ra);
		return;
	}
	if (insn->kind == SHADOW_POP && top && !top->signal && top->slot == sp && new_sp == sp + 8) {
		s->at[s->depth - 1].ra = shadow_word(sp, read, ctx); /* that of a landing pad, perhaps */
		s->held_for = SHADOW_HELD;
		s->held_reg = insn->reg;
		return;
	}
	if (new_sp > sp || (sig && sig->switched && !shadow_in_alt(sig, new_sp)))
		while (s->depth && !shadow_holds(s, new_sp))
			shadow_pop(s);
}

void shadow_signal(struct shadow *s, uint64_t sp, uint64_t pc, uint64_t frame, shadow_read_fn read, void *ctx)
{
	uint64_t saved = shadow_word(frame + FRAME_PC, read, ctx), restorer = shadow_word(frame, read, ctx);
	struct shadow_entry *e;

	if ((saved != pc && saved != pc - 2) || shadow_word(frame + FRAME_SP, read, ctx) != sp)
		test_die("a signal frame that says something else");
	s->held_for = 0;
	e = shadow_push(s, sp, saved);
	e->signal = true;
	e->frame = frame;
	e->below = s->signal;
	e->alt_low = shadow_word(frame + FRAME_ALT_SP, read, ctx);
	e->alt_high = e->alt_low + shadow_word(frame + FRAME_ALT_SIZE, read, ctx);
	e->switched = e->alt_high > e->alt_low && shadow_in_alt(e, frame) && !shadow_in_alt(e, sp);
	s->signal = s->depth;
	shadow_push(s, frame, restorer);
}

bool shadow_sigreturn(struct shadow *s, uint64_t *pc, uint64_t *sp)
{
	if (!s->signal)
		return false;
	*pc = s->at[s->signal - 1].ra;
	*sp = s->at[s->signal - 1].slot;
	while (s->depth > s->signal)
		shadow_pop(s);
	shadow_pop(s);
	return true;
}

void shadow_append(struct shadow *s, uint64_t slot, uint64_t ra)
{
	shadow_push(s, slot, ra);
}

void shadow_copy(struct shadow *to, const struct shadow *from)
{
	*to = *from;
	to->room = from->depth;
	to->at = NULL;
	if (!from->depth)
		return;
	to->at = malloc(from->depth * sizeof(*to->at));
	if (!to->at)
		test_die("shadow stack");
	memcpy(to->at, from->at, from->depth * sizeof(*to->at));
}

void shadow_free(struct shadow *s)
{
	free(s->at);
	memset(s, 0, sizeof(*s));
}

bool shadow_agrees(const struct shadow *s, const uint64_t *pc, size_t count)
{
	if (count != s->depth + 1)
		return false;
	for (size_t i = 1; i < count; i++)
		if (s->at[s->depth - i].ra != pc[i])
			return false;
	return true;
}
