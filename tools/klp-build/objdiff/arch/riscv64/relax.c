/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A function of an object beside what a link made of it. Where no relocation is, the bytes are equal. At each
 * relocation the link may have left the instructions as they are or, where R_RISCV_RELAX allows it, in a shorter form,
 * which the instructions there tell. A wrong guess leaves bytes that nothing explains, and whatever is found here, what
 * the operands lead to is compared as well.
 */
#include <string.h>
#include "tools/klp-build/objdiff/arch/riscv64/insn.h"
#include "tools/klp-build/objdiff/arch/riscv64/relax.h"

#define GP 3u
#define TP 4u
#define NOP 0x00000013u
#define C_NOP 0x0001u

/* The relocations at one place. */
struct spot {
	struct od_placed *p;
	const struct od_rel *r; /* what stands there */
	bool relax;
	const uint8_t *old, *new; /* in the object, in the linked file */
	uint64_t old_left, new_left, at;
	uint64_t old_len, new_len; /* what it is there, as found */
};

static const uint32_t MASK_HIGH = 0xfffu, MASK_LOW_I = 0xfffffu, MASK_LOW_S = 0x01fff07fu, MASK_BASE = 31u << 15;

/* The instruction of two or four bytes. */
static bool insn(const uint8_t *b, uint64_t left, uint32_t *w)
{
	uint16_t parcel;

	if (left < 2)
		return false;
	memcpy(&parcel, b, 2);
	*w = parcel;
	if ((parcel & 3) != 3)
		return true;
	if (left < 4)
		return false;
	memcpy(w, b, 4);
	return true;
}

static bool full(uint32_t w)
{
	return (w & 3) == 3;
}

static bool found(struct spot *t, uint64_t old_len, uint64_t new_len)
{
	t->old_len = old_len;
	t->new_len = new_len;
	return old_len <= t->old_left && new_len <= t->new_left;
}

/* An address may stand in code itself: in a program at fixed addresses, or if it is none, of an undefined weak symbol.
 */
static bool may_be_absolute(const struct spot *t)
{
	const struct od_sec *in = t->p->s;
	const struct od_rel *meant = od_rel_meant(&in, t->r);
	const struct od_sym *y = meant ? &in->obj->sym[meant->sym] : NULL;

	return t->p->l->type == ET_EXEC || (y && !y->shndx && y->bind == STB_WEAK);
}

/* auipc rX; jalr rd, rX */
static bool call(struct spot *t, uint32_t w)
{
	uint32_t second, n, m;
	unsigned rd;

	if ((w & 0x7f) != RV_AUIPC || t->old_left < 8 || !insn(t->old + 4, t->old_left - 4, &second) ||
	    (second & 0x707f) != RV_JALR || (second >> 15 & 31) != (w >> 7 & 31) || !insn(t->new, t->new_left, &n))
		return false;
	rd = second >> 7 & 31;
	if (t->relax && !rd && rv_is_c_j(n))
		return found(t, 8, 2);
	if (t->relax && (n & 0xfff) == (RV_JAL | rd << 7))
		return found(t, 8, 4);
	if (t->relax && (n & 0xfffff) == (RV_JALR | rd << 7) && may_be_absolute(t))
		return found(t, 8, 4);
	if ((n & MASK_HIGH) != (w & MASK_HIGH) || t->new_left < 8 || !insn(t->new + 4, t->new_left - 4, &m) || !full(m))
		return false;
	return (m & MASK_LOW_I & ~MASK_BASE) == (second & MASK_LOW_I & ~MASK_BASE) &&
	       ((m & MASK_BASE) == (second & MASK_BASE) || (!(m & MASK_BASE) && may_be_absolute(t))) && found(t, 8, 8);
}

/* One instruction, with other bits only where the mask has none. */
static bool same(struct spot *t, uint32_t w, uint32_t mask)
{
	uint64_t len = full(w) ? 4 : 2;
	uint32_t n;

	return insn(t->new, t->new_left, &n) && full(n) == full(w) && !((w ^ n) & mask) && found(t, len, len);
}

/* lui and auipc: kept, or left out. */
static bool high(struct spot *t, uint32_t w, uint32_t opcode)
{
	uint32_t n;
	unsigned rd = w >> 7 & 31;
	bool more = insn(t->new, t->new_left, &n);

	if ((w & 0x7f) != opcode)
		return false;
	if (more && full(n) && (n & MASK_HIGH) == (w & MASK_HIGH))
		return found(t, 4, 4);
	if (more && t->r->type == R_RISCV_PCREL_HI20 && (n & MASK_HIGH) == (RV_LUI | rd << 7) && may_be_absolute(t))
		return found(t, 4, 4);
	if (more && t->relax && t->r->type == R_RISCV_HI20 &&
	    (((n & 0xef83u) == (0x6001u | rd << 7) && rd != 2) || n == (0x4001u | rd << 7)))
		return found(t, 4, 2);
	return t->relax && (opcode == RV_LUI || t->r->type == R_RISCV_PCREL_HI20) && found(t, 4, 0);
}

/* Loads, stores and addi: from the register of the high half, or from one that holds enough. */
static bool low(struct spot *t, uint32_t w, uint32_t mask)
{
	bool tls = t->r->type == R_RISCV_TPREL_LO12_I || t->r->type == R_RISCV_TPREL_LO12_S;
	unsigned base;
	uint32_t n;

	if (!full(w) || !insn(t->new, t->new_left, &n) || !full(n) || ((w ^ n) & mask & ~MASK_BASE))
		return false;
	base = n >> 15 & 31;
	if (base == (w >> 15 & 31))
		return found(t, 4, 4);
	return t->relax && (base ? base == (tls ? TP : GP) : !tls && may_be_absolute(t)) && found(t, 4, 4);
}

/* Of a slot: its load, which may have become what makes the address. */
static bool low_of_slot(struct spot *t, uint32_t w, const struct od_rel *high)
{
	uint32_t n;

	if (high->type == R_RISCV_TLS_GD_HI20)
		return (w & 0x707f) == RV_ADDI && same(t, w, MASK_LOW_I);
	if ((w & 0x707f) != RV_LD)
		return false;
	if (same(t, w, MASK_LOW_I))
		return true;
	return high->type == R_RISCV_GOT_HI20 && insn(t->new, t->new_left, &n) && (n & 0x707f) == RV_ADDI &&
	       !((w ^ n) & MASK_LOW_I & ~0x707fu) && found(t, 4, 4);
}

static bool low_by_label(struct spot *t, uint32_t w, uint32_t mask)
{
	const struct od_sec *in = t->p->s;
	const struct od_rel *high = od_rel_meant(&in, t->r);

	if (!high)
		return false;
	return high->type == R_RISCV_PCREL_HI20 ? low(t, w, mask) : mask == MASK_LOW_I && low_of_slot(t, w, high);
}

static bool nops(const uint8_t *b, uint64_t len)
{
	uint32_t w;

	for (uint64_t at = 0; at < len; at += full(w) ? 4 : 2)
		if (!insn(b + at, len - at, &w) || (w != NOP && w != C_NOP))
			return false;
	return true;
}

/* So many NOPs stay that what is behind them is at a multiple of the power of two above the addend. */
static bool alignment(struct spot *t)
{
	uint64_t most = (uint64_t)t->r->addend, align = 1, need;

	if (most > t->old_left)
		return false;
	while (align <= most)
		align *= 2;
	need = -t->at & (align - 1);
	return need <= most && found(t, most, need) && nops(t->old, most) && nops(t->new, need);
}

static bool data(struct spot *t)
{
	uint64_t width = od_rel_info(t->p->s, t->r).width;

	return found(t, width, width);
}

/* The addition of tp stays or goes with the high half, which check_tls sees. */
static bool tls_add(struct spot *t, uint32_t w)
{
	uint32_t n;

	if (insn(t->new, t->new_left, &n) && n == w)
		return found(t, full(w) ? 4 : 2, full(w) ? 4 : 2);
	return t->relax && found(t, full(w) ? 4 : 2, 0);
}

static bool explain(struct spot *t)
{
	uint32_t w;

	if (od_rel_info(t->p->s, t->r).term)
		return data(t);
	if (t->r->type == R_RISCV_ALIGN)
		return alignment(t);
	if (!insn(t->old, t->old_left, &w))
		return false;
	switch (t->r->type) {
	case R_RISCV_CALL:
	case R_RISCV_CALL_PLT:
		return call(t, w);
	case R_RISCV_JAL:
		return (w & 0x7f) == RV_JAL && same(t, w, 0xfffu);
	case R_RISCV_BRANCH:
		return (w & 0x7f) == RV_BRANCH && same(t, w, MASK_LOW_S);
	case R_RISCV_RVC_JUMP:
		return rv_is_c_j(w) && same(t, w, 0xe003u);
	case R_RISCV_RVC_BRANCH:
		return rv_is_c_branch(w) && same(t, w, 0xe383u);
	case R_RISCV_HI20:
	case R_RISCV_TPREL_HI20:
		return high(t, w, RV_LUI);
	case R_RISCV_PCREL_HI20:
	case R_RISCV_GOT_HI20:
	case R_RISCV_TLS_GOT_HI20:
	case R_RISCV_TLS_GD_HI20:
		return high(t, w, RV_AUIPC);
	case R_RISCV_LO12_I:
	case R_RISCV_TPREL_LO12_I:
		return low(t, w, MASK_LOW_I);
	case R_RISCV_LO12_S:
	case R_RISCV_TPREL_LO12_S:
		return low(t, w, MASK_LOW_S);
	case R_RISCV_PCREL_LO12_I:
		return low_by_label(t, w, MASK_LOW_I);
	case R_RISCV_PCREL_LO12_S:
		return low_by_label(t, w, MASK_LOW_S);
	case R_RISCV_TPREL_ADD:
		return tls_add(t, w);
	case R_RISCV_64:
	case R_RISCV_32:
	case R_RISCV_32_PCREL:
	case OD_R_RISCV_PLT32:
		return data(t);
	default:
		return false;
	}
}

static bool refuse(struct od_placed *p, uint64_t at, const char *why)
{
	p->why = why;
	p->why_at = at - p->addr;
	return false;
}

/* Of one place: what stands there, and whether it may be relaxed. Several make a distance, or make no sense. */
static bool gather(struct spot *t, size_t *i, uint64_t off)
{
	const struct od_sec *s = t->p->s;

	t->r = NULL;
	t->relax = false;
	for (; *i < s->rel_count && s->rel[*i].off == off; ++*i) {
		const struct od_rel *r = &s->rel[*i];

		if (r->type == R_RISCV_RELAX)
			t->relax = true;
		if (r->type == R_RISCV_RELAX || r->type == R_RISCV_NONE)
			continue;
		if (t->r && (!od_rel_info(s, r).term || !od_rel_info(s, t->r).term ||
			     od_rel_info(s, r).width != od_rel_info(s, t->r).width))
			return false;
		t->r = r;
	}
	return true;
}

/* A variable's high half, the addition of tp and its low halves are all there as they were, or all relaxed. */
static bool tls_relaxed(const struct od_placed *p, const struct od_rel *r)
{
	const uint8_t *b;
	uint64_t at;
	uint32_t w;

	if (r->type == R_RISCV_TPREL_HI20 || r->type == R_RISCV_TPREL_ADD)
		return od_placed_gone(p, r->off);
	b = od_placed_at(p, r->off, &at) ? lk_bytes(p->l, at, 4) : NULL;
	return b && insn(b, 4, &w) && (w >> 15 & 31) == TP;
}

static bool is_tprel(const struct od_rel *r)
{
	return r->type == R_RISCV_TPREL_HI20 || r->type == R_RISCV_TPREL_ADD || r->type == R_RISCV_TPREL_LO12_I ||
	       r->type == R_RISCV_TPREL_LO12_S;
}

static bool check_tls(struct od_placed *p)
{
	const struct od_sec *s = p->s;
	const struct od_rel *first = NULL;

	for (size_t i = od_rel_from(s, p->from); i < s->rel_count && s->rel[i].off - p->from < p->size; i++) {
		const struct od_rel *r = &s->rel[i];

		if (!is_tprel(r))
			continue;
		if (!first || first->sym != r->sym) {
			first = r;
			for (size_t k = od_rel_from(s, p->from); k < i; k++)
				if (is_tprel(&s->rel[k]) && s->rel[k].sym == r->sym) {
					first = &s->rel[k];
					break;
				}
		}
		if (tls_relaxed(p, first) != tls_relaxed(p, r))
			return refuse(p, p->addr, "references to a thread-local variable that are relaxed in part");
	}
	return true;
}

bool od_riscv64_relaxed(struct od_placed *p)
{
	const struct od_sec *s = p->s;
	const uint8_t *linked = lk_bytes(p->l, p->addr, p->linked_size);
	uint64_t off = p->from, end = p->from + p->size, at = 0;
	size_t i = od_rel_from(s, off);

	if (!s->data || !linked || !p->size || end < off || end > s->size)
		return refuse(p, p->addr, "a function without a size, or without its bytes");
	for (;;) {
		uint64_t next = i < s->rel_count && s->rel[i].off < end ? s->rel[i].off : end, n = next - off, same = 0;
		struct spot t = {.p = p};

		if (next < off)
			return refuse(p, p->addr + at, "relocations that overlap");
		while (same < n && same < p->linked_size - at && s->data[off + same] == linked[at + same])
			same++;
		off += same;
		at += same;
		if (same < n)
			return refuse(p, p->addr + at, "other bytes than in the object");
		if (off == end)
			break;
		if (!gather(&t, &i, off))
			return refuse(p, p->addr + at, "several relocations at one place");
		if (!t.r)
			continue;
		t.old = s->data + off;
		t.old_left = end - off;
		t.new = linked + at;
		t.new_left = p->linked_size - at;
		t.at = p->addr + at;
		if (!explain(&t))
			return refuse(p, p->addr + at, "an instruction that no link makes of the object's");
		if (t.new_len < t.old_len)
			od_placed_cut(p, off + t.new_len, t.old_len - t.new_len);
		off += t.old_len;
		at += t.new_len;
	}
	if (at != p->linked_size)
		return refuse(p, p->addr + at, "more bytes than in the object");
	return check_tls(p);
}
