/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How code uses an address (The RISC-V Instruction Set Manual, volume I): which registers hold it, or something
 * computed from it, on every way from the instruction that makes it. What is not known here is an answer on the safe
 * side.
 */
#include <string.h>
#include "tools/klp-build/objdiff/arch/riscv64/insn.h"
#include "tools/klp-build/objdiff/follow.h"

#define PARCEL 2u    /* an instruction is one of them or two */
#define ARGUMENTS 8u /* a0 to a7 carry them */
#define FIRST_ARGUMENT 10u
#define RESULTS 0x00000c00u /* a0, a1 */
#define KEPT 0x0ffc031cu    /* sp, gp, tp, s0 to s11: a call preserves them */
#define RA 1u
#define ALTERNATE_LINK 5u /* t0 */

static bool insn_at(const struct od_sec *s, uint64_t at, uint32_t *w, unsigned *len)
{
	uint16_t parcel;

	if (at > s->size || s->size - at < PARCEL)
		return false;
	memcpy(&parcel, s->data + at, PARCEL);
	*w = parcel;
	*len = PARCEL;
	if ((parcel & 3) != 3)
		return true;
	*len = 2 * PARCEL;
	if ((parcel & 0x1f) == 0x1f || s->size - at < *len)
		return false;
	memcpy(w, s->data + at, *len);
	return true;
}

static bool in(uint32_t set, unsigned reg)
{
	return reg && set >> reg & 1;
}

static void assign_exact(struct od_step *t, unsigned reg, bool tainted, bool exact)
{
	if (!reg)
		return;
	t->taint = tainted ? t->taint | 1u << reg : t->taint & ~(1u << reg);
	t->exact = exact ? t->exact | 1u << reg : t->exact & ~(1u << reg);
}

static void assign(struct od_step *t, unsigned reg, bool tainted)
{
	assign_exact(t, reg, tainted, false);
}

static void add(struct od_step *t, unsigned rd, unsigned rs1, unsigned rs2)
{
	bool a = in(t->taint, rs1), b = in(t->taint, rs2);

	assign_exact(t, rd, a || b, a ? in(t->exact, rs1) && !b : in(t->exact, rs2));
}

static void subtract(struct od_step *t, unsigned rd, unsigned rs1, unsigned rs2)
{
	bool a = in(t->taint, rs1), b = in(t->taint, rs2), none;

	none = rs1 == rs2 || (in(t->exact, rs1) && in(t->exact, rs2)); /* a distance is no address */
	assign_exact(t, rd, (a || b) && !none, in(t->exact, rs1) && !b);
}

/* Compared with what may be the address of something else. */
static bool gives_away(const struct od_step *t, unsigned rs1, unsigned rs2)
{
	return (in(t->taint, rs1) || in(t->taint, rs2)) && !(in(t->exact, rs1) && in(t->exact, rs2));
}

/* The relocation that says where an instruction jumps. */
static const struct od_rel *jump_at(const struct od_sec *s, uint64_t off)
{
	for (size_t i = od_rel_from(s, off); i < s->rel_count && s->rel[i].off == off; i++)
		switch (s->rel[i].type) {
		case R_RISCV_BRANCH:
		case R_RISCV_JAL:
		case R_RISCV_RVC_BRANCH:
		case R_RISCV_RVC_JUMP:
		case R_RISCV_CALL:
		case R_RISCV_CALL_PLT:
			return &s->rel[i];
		default:
			break;
		}
	return NULL;
}

/* Arguments that a call may pass on; who is called is not known without a relocation. */
static bool passes(const struct od_sec *s, const struct od_rel *r, uint32_t taint)
{
	const struct od_sym *y = r ? &s->obj->sym[r->sym] : NULL;
	unsigned n = y && y->outside ? od_argument_count(y->name) : OD_ALL_ARGUMENTS;

	return taint >> FIRST_ARGUMENT & ((1u << (n < ARGUMENTS ? n : ARGUMENTS)) - 1);
}

#define SAVED_MOST 12u /* s0 to s11 */

/* The compiler's own functions of prologues and epilogues, __riscv_save_N and __riscv_restore_N (-msave-restore): the
 * registers that N says it saves or restores. */
static bool is_of_family(const struct od_sec *s, const struct od_rel *r, const char *family, uint32_t *saved)
{
	const struct od_sym *y = r ? &s->obj->sym[r->sym] : NULL;
	size_t len = strlen(family), digits;
	unsigned n = 0;

	if (!y || !y->outside || strncmp(y->name, family, len))
		return false;
	digits = strspn(y->name + len, "0123456789");
	if (!digits || digits > 2 || y->name[len + digits])
		return false;
	for (size_t i = 0; i < digits; i++)
		n = 10 * n + (unsigned)(y->name[len + i] - '0');
	if (n > SAVED_MOST)
		return false;
	*saved = n < 2 ? ((1u << n) - 1) << 8 : 3u << 8 | ((1u << (n - 2)) - 1) << 18;
	return true;
}

/* rd: where it returns to. */
static void step_call(const struct od_sec *s, const struct od_rel *r, unsigned rd, struct od_step *t)
{
	uint32_t saved;

	if (rd == ALTERNATE_LINK && is_of_family(s, r, "__riscv_save_", &saved)) {
		t->escapes = t->escapes || t->taint & KEPT; /* it stores them */
		assign(t, rd, false);
		return;
	}
	t->escapes = t->escapes || passes(s, r, t->taint);
	t->taint &= KEPT;
	assign(t, rd, false);
}

/* `offset` is what the instruction says where it has no relocation. */
static void step_jump(const struct od_sec *s, uint64_t at, uint64_t offset, bool always, struct od_step *t)
{
	const struct od_rel *r = jump_at(s, at);
	uint32_t to = r ? s->obj->sym[r->sym].shndx : s->index, saved;

	t->ends = always;
	if (to == s->index) {
		t->jumps = true;
		t->target = r ? s->obj->sym[r->sym].value + (uint64_t)r->addend : at + offset;
	} else if (!always ||
		   (to && to < s->obj->sec_count && (s->obj->sec[to].hot == s || s->hot == &s->obj->sec[to]))) {
		t->escapes = t->escapes || t->taint;                 /* the function's other part */
	} else if (is_of_family(s, r, "__riscv_restore_", &saved)) { /* and returns to the caller */
		t->escapes = t->escapes || t->taint & ((KEPT & ~saved) | RESULTS);
	} else {
		t->escapes = t->escapes || t->taint & KEPT || passes(s, r, t->taint);
	}
}

/* A jump to where a register says, with rd: a call. */
static void step_indirect(const struct od_sec *s, unsigned rd, unsigned rs, struct od_step *t)
{
	if (rd) {
		t->escapes = in(t->taint, rs);
		step_call(s, NULL, rd, t);
		return;
	}
	/* else a tail call or a switch */
	t->escapes = rs == RA ? t->taint & (KEPT | RESULTS) : t->taint;
	t->ends = true;
}

/* Who catches the signal may go on behind it (__builtin_debugtrap); a compiler's trap may be a function's last. */
static void step_break(const struct od_sec *s, uint64_t at, struct od_step *t)
{
	t->ends = at + t->len == s->size;
}

/* `auipc, jalr` that the link makes one jump of. */
static void step_far(const struct od_sec *s, uint64_t at, struct od_step *t)
{
	uint32_t w;
	unsigned len;

	if (!insn_at(s, at + 4, &w, &len) || (w & 0x7f) != RV_JALR) {
		t->escapes = true;
		return;
	}
	t->len = 8;
	if (w >> 7 & 31)
		step_call(s, jump_at(s, at), w >> 7 & 31, t);
	else
		step_jump(s, at, 0, true, t);
}

static void step_full(const struct od_sec *s, uint64_t at, uint32_t w, struct od_step *t)
{
	unsigned rd = w >> 7 & 31, funct = w >> 12 & 7, rs1 = w >> 15 & 31, rs2 = w >> 20 & 31;
	bool a = in(t->taint, rs1), b = in(t->taint, rs2);

	switch (w & 0x7f) {
	case RV_LOAD:
		assign(t, rd, false);
		break;
	case RV_LOAD_FP:
	case RV_FENCE:
	case RV_MADD:
	case RV_MSUB:
	case RV_NMSUB:
	case RV_NMADD:
		break;
	case RV_STORE:
		t->escapes = a || b;
		break;
	case RV_STORE_FP:
		t->escapes = a;
		break;
	case RV_AUIPC:
		if (jump_at(s, at)) {
			step_far(s, at, t);
			break;
		}
		assign(t, rd, false);
		break;
	case RV_LUI:
		assign(t, rd, false);
		break;
	case RV_OP_IMM:
	case RV_OP_IMM_32:
		t->escapes = a && (funct == 2 || funct == 3);                                   /* slti, sltiu */
		assign_exact(t, rd, a, !funct && (w & 0x7f) == RV_OP_IMM && in(t->exact, rs1)); /* addi */
		break;
	case RV_OP:
	case RV_OP_32:
		if (!(w >> 25) && (funct == 2 || funct == 3)) { /* slt, sltu */
			t->escapes = gives_away(t, rs1, rs2);
			assign(t, rd, false);
		} else if (!funct && !(w >> 25) && (w & 0x7f) == RV_OP) {
			add(t, rd, rs1, rs2);
		} else if (!funct && w >> 25 == 0x20 && (w & 0x7f) == RV_OP) {
			subtract(t, rd, rs1, rs2);
		} else {
			assign(t, rd, a || b);
		}
		break;
	case RV_OP_FP: /* from an integer register: fcvt, fmv; results of comparisons leave what was tainted so */
		t->escapes = a && ((w >> 25 & 0x7c) == 0x68 || (w >> 25 & 0x7c) == 0x78);
		break;
	case RV_BRANCH:
		t->escapes = gives_away(t, rs1, rs2);
		step_jump(s, at, rv_branch_offset(w), false, t);
		break;
	case RV_JAL:
		if (rd)
			step_call(s, jump_at(s, at), rd, t);
		else
			step_jump(s, at, rv_jal_offset(w), true, t);
		break;
	case RV_JALR:
		step_indirect(s, rd, rs1, t);
		break;
	case RV_SYSTEM:
		if (w == 0x00100073) { /* ebreak */
			step_break(s, at, t);
			break;
		}
		t->escapes = funct ? a : t->taint != 0;
		if (funct)
			assign(t, rd, false);
		break;
	default:
		t->escapes = t->taint;
		break;
	}
}

/*
 * c.fsdsp, or of Zcmp and Zcmt (which exist instead of it) cm.jt, cm.mvsa01, cm.mva01s, cm.push, cm.pop: nothing says
 * which extensions an object is for.
 */
static bool is_zcm(uint32_t w)
{
	unsigned kind = w >> 10 & 7;

	return !kind || kind == 3 || kind >= 6;
}

static void step_compressed(const struct od_sec *s, uint64_t at, uint32_t w, struct od_step *t)
{
	unsigned rd = w >> 7 & 31, rs2 = w >> 2 & 31, high = 8 + (w >> 7 & 7), low = 8 + (w >> 2 & 7);

	switch ((w & 3) << 3 | w >> 13) {
	case 000: /* c.addi4spn; all zero: not one */
		t->ends = !w;
		assign(t, low, in(t->taint, 2));
		break;
	case 002: /* c.lw, c.ld */
	case 003:
		assign(t, low, false);
		break;
	case 001: /* floating-point loads */
	case 021:
	case 010: /* c.addi: what it was */
		break;
	case 011: /* c.addiw, c.slli */
	case 020:
		assign(t, rd, in(t->taint, rd));
		break;
	case 025:
		t->escapes = t->taint && is_zcm(w);
		break;
	case 005: /* c.fsd */
		t->escapes = in(t->taint, high);
		break;
	case 006: /* c.sw, c.sd */
	case 007:
		t->escapes = in(t->taint, high) || in(t->taint, low);
		break;
	case 012: /* c.li */
		assign(t, rd, false);
		break;
	case 013: /* c.lui, c.addi16sp */
		if (rd != 2)
			assign(t, rd, false);
		break;
	case 014:
		if ((w >> 10 & 3) != 3) { /* by an immediate */
			assign(t, high, in(t->taint, high));
			break;
		}
		if ((w >> 12 & 1) && (w >> 5 & 3) > 1) {
			t->escapes = t->taint;
			break;
		}
		if (!(w >> 12 & 1) && !(w >> 5 & 3)) /* c.sub */
			subtract(t, high, high, low);
		else
			assign(t, high, in(t->taint, high) || in(t->taint, low));
		break;
	case 015:
		step_jump(s, at, rv_c_j_offset(w), true, t);
		break;
	case 016:
	case 017:
		t->escapes = in(t->taint, high);
		step_jump(s, at, rv_c_branch_offset(w), false, t);
		break;
	case 022: /* c.lwsp, c.ldsp */
	case 023:
		assign(t, rd, false);
		break;
	case 024:
		if (rs2) /* c.mv, c.add */
			add(t, rd, w >> 12 & 1 ? rd : 0, rs2);
		else if (rd)
			step_indirect(s, w >> 12 & 1, rd, t);
		else
			step_break(s, at, t); /* c.ebreak */
		break;
	case 026: /* c.swsp, c.sdsp */
	case 027:
		t->escapes = in(t->taint, rs2);
		break;
	default:
		t->escapes = t->taint;
		break;
	}
}

static bool follow_step(const struct od_sec *s, uint64_t at, const uint32_t *seen, void *ctx, struct od_step *t)
{
	uint32_t w;

	(void)seen;
	(void)ctx;
	if (!insn_at(s, at, &w, &t->len))
		return false;
	/* the unwinder takes them to a landing pad */
	t->escapes = s->pads && t->taint & KEPT;
	if (t->escapes)
		return true;
	if (t->len == PARCEL)
		step_compressed(s, at, w, t);
	else
		step_full(s, at, w, t);
	return true;
}

/* Follows the address from `from` on, where it is in register `reg`. */
static bool walk(const struct od_sec *s, uint64_t from, unsigned reg)
{
	return reg && od_follow(s, from, 1u << reg, PARCEL, follow_step, NULL);
}

/* The instruction that the relocation is in is one of code. */
static bool insn_of(const struct od_sec *s, const struct od_rel *r, uint32_t *w, unsigned *len)
{
	return s->kind == OD_CODE && s->data && insn_at(s, r->off, w, len);
}

enum od_use od_riscv64_use(const struct od_sec *s, const struct od_rel *r)
{
	const struct od_sec *in = s;
	const struct od_rel *high;
	unsigned len;
	uint32_t w, second;

	if (!insn_of(s, r, &w, &len))
		return OD_USE_ADDRESS;
	switch (r->type) {
	case R_RISCV_CALL:
	case R_RISCV_CALL_PLT:
		if (len != 4 || (w & 0x7f) != RV_AUIPC || !insn_at(s, r->off + 4, &second, &len) || len != 4)
			return OD_USE_ADDRESS;
		return (second & 0x707f) == RV_JALR && (second >> 15 & 31) == (w >> 7 & 31) ? OD_USE_CALL
											    : OD_USE_ADDRESS;
	case R_RISCV_JAL:
		return (w & 0x7f) == RV_JAL ? OD_USE_CALL : OD_USE_ADDRESS;
	case R_RISCV_BRANCH:
		return (w & 0x7f) == RV_BRANCH ? OD_USE_CALL : OD_USE_ADDRESS;
	case R_RISCV_RVC_JUMP:
		return rv_is_c_j(w) ? OD_USE_CALL : OD_USE_ADDRESS;
	case R_RISCV_RVC_BRANCH:
		return rv_is_c_branch(w) ? OD_USE_CALL : OD_USE_ADDRESS;
	case R_RISCV_PCREL_LO12_I:
		high = od_rel_meant(&in, r);
		if (!high || high->type != R_RISCV_PCREL_HI20)
			return OD_USE_ADDRESS;
		break;
	case R_RISCV_LO12_I:
		break;
	default:
		return OD_USE_ADDRESS;
	}
	return (w & 0x7f) == RV_LOAD || (w & 0x7f) == RV_LOAD_FP ? OD_USE_LOAD : OD_USE_ADDRESS;
}

/*
 * Where the link relaxes, the assembler leaves it every address. Elsewhere it may resolve `auipc, addi`: its two
 * relocations cannot be put back as one, and the type says so.
 */
bool od_riscv64_own_address(const struct od_sec *s, uint64_t from, struct od_rel *r)
{
	uint64_t entry = s->sym ? s->obj->sym[s->sym].value : 0, at = entry;
	uint64_t high[32] = {0}, place[32] = {0};
	uint32_t known = 0, w;
	unsigned len;

	for (; s->data && insn_at(s, at, &w, &len); at += len) {
		unsigned rd = w >> 7 & 31, rs = w >> 15 & 31;
		size_t i = od_rel_from(s, at);

		if (len != 4 || (i < s->rel_count && s->rel[i].off == at))
			continue;
		if ((w & 0x7f) == RV_AUIPC) {
			known |= 1u << rd;
			high[rd] = at + rv_high(w);
			place[rd] = at;
		} else if ((w & 0x707f) == RV_OP_IMM && (known >> rs & 1) && high[rs] + rv_low_i(w) == entry &&
			   place[rs] >= from) {
			*r = (struct od_rel){.off = place[rs], .type = OD_RISCV_OWN_ADDRESS, .sym = s->sym};
			return true;
		}
	}
	return false;
}

bool od_riscv64_only_loads(const struct od_sec *s, const struct od_rel *r)
{
	const struct od_sec *in = s;
	const struct od_rel *high;
	bool slot = false, load;
	unsigned len;
	uint32_t w;

	if (s->kind != OD_CODE || !s->data || !insn_at(s, r->off, &w, &len) || len != 4)
		return false;
	load = (w & 0x7f) == RV_LOAD || (w & 0x7f) == RV_LOAD_FP;
	switch (r->type) {
	case R_RISCV_PCREL_HI20:
	case R_RISCV_GOT_HI20:
		return r->named; /* no address yet: the low halves are asked about themselves */
	case R_RISCV_HI20:
		return od_other_half(s, r, false, &in);
	case R_RISCV_PCREL_LO12_I:
		high = od_rel_meant(&in, r);
		if (!high || (high->type != R_RISCV_PCREL_HI20 && high->type != R_RISCV_GOT_HI20))
			return false;
		slot = high->type == R_RISCV_GOT_HI20;
		break;
	case R_RISCV_LO12_I:
		break;
	default:
		return false;
	}
	if (load && !slot)
		return true;
	/* addi makes the address, ld of a slot loads it */
	return (slot ? (w & 0x7f) == RV_LOAD : (w & 0x707f) == RV_OP_IMM) && walk(s, r->off + 4, w >> 7 & 31);
}
