/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How code uses an address: a decoder of x86_64 instructions that knows lengths, operands and control flow, and nothing
 * else. What it does not know is an answer on the safe side.
 */
#include <string.h>
#include "tools/klp-build/objdiff/arch/x86_64/insn.h"

#define NO_REG 255

struct insn {
	uint64_t at, len;
	unsigned map; /* 1: one byte, 2: 0F, 3: 0F38, 4: 0F3A */
	uint8_t op;
	bool modrm, memory, riprel, rexw, vex;
	uint8_t mod, reg, rm, base, index;
	uint64_t disp_at, imm_at; /* offsets in the section, 0 none */
	unsigned imm_len;
};

static bool has_modrm(unsigned map, uint8_t op)
{
	if (map >= 3)
		return true;
	if (map == 2)
		return !(op == 0x05 || op == 0x06 || op == 0x08 || op == 0x09 || op == 0x0b || op == 0x0e ||
			 (op >= 0x30 && op <= 0x37) || op == 0x77 || (op >= 0x80 && op <= 0x8f) ||
			 (op >= 0xa0 && op <= 0xa2) || (op >= 0xa8 && op <= 0xaa) || (op >= 0xc8 && op <= 0xcf));
	if (op < 0x40)
		return (op & 7) < 4;
	return op == 0x63 || op == 0x69 || op == 0x6b || (op >= 0x80 && op <= 0x8f) || op == 0xc0 || op == 0xc1 ||
	       op == 0xc6 || op == 0xc7 || (op >= 0xd0 && op <= 0xd3) || (op >= 0xd8 && op <= 0xdf) || op == 0xf6 ||
	       op == 0xf7 || op == 0xfe || op == 0xff;
}

static unsigned imm_size(const struct insn *i, bool opsize)
{
	unsigned full = opsize ? 2 : 4;
	uint8_t op = i->op;

	if (i->map == 4)
		return 1;
	if (i->map == 3)
		return 0;
	if (i->map == 2) {
		if (op >= 0x80 && op <= 0x8f && !i->vex)
			return 4;
		return (op >= 0x70 && op <= 0x73) || op == 0xa4 || op == 0xac || op == 0xba || op == 0xc2 ||
			       op == 0xc4 || op == 0xc5 || op == 0xc6
			   ? 1
			   : 0;
	}
	if (op < 0x40)
		return (op & 7) == 4 ? 1 : (op & 7) == 5 ? full : 0;
	if (op >= 0x70 && op <= 0x7f)
		return 1;
	if (op >= 0xb0 && op <= 0xb7)
		return 1;
	if (op >= 0xb8 && op <= 0xbf)
		return i->rexw ? 8 : full;
	switch (op) {
	case 0x68:
	case 0x69:
	case 0x81:
	case 0xa9:
	case 0xc7:
		return full;
	case 0xe8:
	case 0xe9:
		return 4;
	case 0x6a:
	case 0x6b:
	case 0x80:
	case 0x83:
	case 0xa8:
	case 0xc0:
	case 0xc1:
	case 0xc6:
	case 0xcd:
	case 0xe0:
	case 0xe1:
	case 0xe2:
	case 0xe3:
	case 0xeb:
		return 1;
	case 0xc2:
		return 2;
	case 0xf6:
		return i->reg % 8 < 2 ? 1 : 0;
	case 0xf7:
		return i->reg % 8 < 2 ? full : 0;
	default:
		return 0;
	}
}

/* False where the bytes are cut off or not known to this decoder. */
static bool decode(const uint8_t *b, uint64_t size, uint64_t at, struct insn *i)
{
	uint64_t p = at;
	uint8_t rex = 0;
	bool opsize = false;

	memset(i, 0, sizeof(*i));
	i->at = at;
	i->base = i->index = NO_REG;
	i->map = 1;
	for (; p < size; p++) {
		if (b[p] == 0x66)
			opsize = true;
		else if (b[p] != 0xf2 && b[p] != 0xf3 && b[p] != 0x2e && b[p] != 0x3e && b[p] != 0x64 && b[p] != 0x65 &&
			 b[p] != 0xf0 && b[p] != 0x67)
			break;
		if (p - at > 13)
			return false;
	}
	if (p < size && (b[p] & 0xf0) == 0x40)
		rex = b[p++];
	if (size - at < 2 && p >= size)
		return false;
	if (p >= size)
		return false;
	if ((b[p] == 0xc5 || b[p] == 0xc4) && !rex) {
		if (size - p < 4)
			return false;
		i->vex = true;
		rex = (uint8_t)(b[p + 1] & 0x80 ? 0 : 4);
		i->map = 2;
		if (b[p] == 0xc4) {
			rex = (uint8_t)((~b[p + 1] >> 5 & 7) | (b[p + 2] & 0x80 ? 8 : 0));
			i->map = (b[p + 1] & 0x1f) + 1u;
			if (i->map < 2 || i->map > 4)
				return false;
			p++;
		}
		p += 2;
		i->op = b[p++];
	} else if (b[p] == 0x62 || (b[p] >= 0xa0 && b[p] <= 0xa3) || b[p] == 0xc8) {
		return false;
	} else {
		i->op = b[p++];
		if (i->op == 0x0f) {
			if (p >= size)
				return false;
			i->map = 2;
			i->op = b[p++];
			if (i->op == 0x38 || i->op == 0x3a) {
				if (p >= size)
					return false;
				i->map = i->op == 0x38 ? 3 : 4;
				i->op = b[p++];
			}
		}
	}
	i->rexw = rex & 8;
	i->modrm = has_modrm(i->map, i->op);
	if (i->modrm) {
		uint8_t m;

		if (p >= size)
			return false;
		m = b[p++];
		i->mod = m >> 6;
		i->reg = (uint8_t)((m >> 3 & 7) | (rex & 4 ? 8 : 0));
		i->rm = (uint8_t)((m & 7) | (rex & 1 ? 8 : 0));
		i->memory = i->mod != 3;
		if (i->memory) {
			unsigned disp = i->mod == 1 ? 1 : i->mod == 2 ? 4 : 0;

			i->base = i->rm;
			if ((m & 7) == 4) {
				if (p >= size)
					return false;
				i->base = (uint8_t)((b[p] & 7) | (rex & 1 ? 8 : 0));
				i->index = (uint8_t)((b[p] >> 3 & 7) | (rex & 2 ? 8 : 0));
				if (i->index == 4)
					i->index = NO_REG;
				if ((b[p] & 7) == 5 && !i->mod) {
					i->base = NO_REG;
					disp = 4;
				}
				p++;
			} else if ((m & 7) == 5 && !i->mod) {
				i->base = NO_REG;
				i->riprel = true;
				disp = 4;
			}
			if (disp)
				i->disp_at = p;
			p += disp;
		}
	} else if (i->map == 1 && i->op >= 0xb0 && i->op <= 0xbf) {
		i->reg = (uint8_t)((i->op & 7) | (rex & 1 ? 8 : 0));
	} else {
		i->rm = (uint8_t)((i->op & 7) | (rex & 1 ? 8 : 0));
	}
	i->imm_len = imm_size(i, opsize);
	if (i->imm_len)
		i->imm_at = p;
	p += i->imm_len;
	if (p > size || p - at > 15)
		return false;
	i->len = p - at;
	return true;
}

static bool find_insn(const struct od_sec *s, uint64_t off, struct insn *i)
{
	uint64_t at = s->sym ? s->obj->sym[s->sym].value : 0;

	if (s->kind != OD_CODE || !s->data || off < at)
		return false;
	while (at <= off) {
		if (!decode(s->data, s->size, at, i))
			return false;
		if (off < at + i->len)
			return true;
		at += i->len;
	}
	return false;
}

static bool is_branch(const struct insn *i)
{
	return (i->map == 1 && (i->op == 0xe8 || i->op == 0xe9)) || (i->map == 2 && !i->vex && (i->op & 0xf0) == 0x80);
}

enum od_use od_x86_64_use(const struct od_sec *s, const struct od_rel *r)
{
	struct insn i;

	if (!find_insn(s, r->off, &i))
		return OD_USE_ADDRESS;
	if (is_branch(&i) && i.imm_at == r->off)
		return OD_USE_CALL;
	if (!i.memory || i.disp_at != r->off || (i.map == 1 && i.op == 0x8d))
		return OD_USE_ADDRESS;
	if (od_rel_is_got(s, r))
		return i.map == 1 && i.op == 0xff && (i.reg == 2 || i.reg == 4) ? OD_USE_CALL : OD_USE_ADDRESS;
	return OD_USE_LOAD;
}

bool od_x86_64_own_address(const struct od_sec *s, uint64_t from, struct od_rel *r)
{
	uint64_t entry = s->sym ? s->obj->sym[s->sym].value : 0, at = entry;
	struct insn i;
	int32_t v;

	while (s->data && at < s->size && decode(s->data, s->size, at, &i)) {
		at += i.len;
		if (i.map != 1 || i.op != 0x8d || !i.riprel || i.disp_at < from)
			continue;
		memcpy(&v, s->data + i.disp_at, 4);
		if (at + (uint64_t)(int64_t)v != entry)
			continue;
		*r = (struct od_rel){i.disp_at, R_X86_64_PC32, s->sym, -4, 0, false};
		return true;
	}
	return false;
}

static bool opcode_extension(const struct insn *i)
{
	uint8_t op = i->op;

	if (i->map == 1)
		return (op >= 0x80 && op <= 0x83) || op == 0xc0 || op == 0xc1 || op == 0xc6 || op == 0xc7 ||
		       (op >= 0xd0 && op <= 0xd3) || op == 0xf6 || op == 0xf7 || op == 0xfe || op == 0xff || op == 0x8f;
	return i->map == 2 && ((op >= 0x71 && op <= 0x73) || op == 0xba || op == 0xae || op == 0x18 || op == 0x1f ||
			       (op >= 0x90 && op <= 0x9f));
}

/* Loads whose only result is the register in the reg field. */
static bool plain_load(const struct insn *i)
{
	if (i->vex)
		return false;
	if (i->map == 1)
		return i->op == 0x8b || i->op == 0x63 || i->op == 0x8d;
	return i->map == 2 && (i->op == 0xb6 || i->op == 0xb7 || i->op == 0xbe || i->op == 0xbf);
}

enum verdict { GOES_ON, DEAD, ESCAPES };

static bool caller_saved(unsigned r)
{
	return r <= 2 || (r >= 6 && r <= 11);
}

/* What one instruction does to the address in register r. Control flow is the caller's. */
static enum verdict step(const struct insn *i, unsigned r)
{
	bool loads = plain_load(i);

	if (i->memory && (i->base == r || i->index == r)) {
		if (i->map == 1 && (i->op == 0x8d || i->op == 0x8f || (i->op >= 0x88 && i->op <= 0x89)))
			return ESCAPES;
		if (i->map == 1 && i->op == 0xff && i->reg % 8 >= 2 && i->reg % 8 != 6 && !caller_saved(r))
			return GOES_ON;
	}
	if (i->modrm && i->reg == r && !opcode_extension(i)) {
		if (loads && (i->memory || i->rm != r))
			return DEAD;
		if (i->map == 1 && (i->op == 0x31 || i->op == 0x33) && !i->memory && i->rm == r)
			return DEAD;
		return ESCAPES;
	}
	if (i->modrm && !i->memory && i->rm == r) {
		if (i->map == 1 && (i->op == 0x89 || (i->op == 0xc7 && i->reg % 8 == 0)))
			return DEAD; /* overwritten: another register or a number moves in */
		return ESCAPES;
	}
	if (i->modrm) {
		/* implied operands: multiplications, divisions, compare and exchange */
		if (i->map == 1 && (i->op == 0xf6 || i->op == 0xf7) && i->reg % 8 >= 4)
			return r == 0 || r == 2 ? ESCAPES : GOES_ON;
		if (i->map == 1 && (i->op & 0xfc) == 0xd0 && r == 1)
			return ESCAPES;
		if (i->map == 2 && (i->op == 0xb0 || i->op == 0xb1 || i->op == 0xc7 || i->op == 0xa5 || i->op == 0xad))
			return r <= 3 ? ESCAPES : GOES_ON;
		return i->map == 1 && i->op == 0xff && i->reg % 8 == 6 && !i->memory && i->rm == r ? ESCAPES : GOES_ON;
	}
	if (i->map == 1) {
		if (i->op >= 0xb0 && i->op <= 0xbf)
			return i->reg == r ? (i->op >= 0xb8 ? DEAD : ESCAPES) : GOES_ON;
		if (i->op >= 0x50 && i->op <= 0x57)
			return i->rm == r ? ESCAPES : GOES_ON;
		if (i->op >= 0x58 && i->op <= 0x5f)
			return i->rm == r ? DEAD : GOES_ON;
		if (i->op == 0x90)
			return GOES_ON;
		if (i->op == 0xcd)
			return ESCAPES; /* int 0x80 */
		if (i->op > 0x90 && i->op <= 0x97)
			return i->rm == r || r == 0 ? ESCAPES : GOES_ON;
		if ((i->op >= 0x70 && i->op <= 0x7f) || i->op == 0xeb || i->op == 0xe9 || i->op == 0xe8 ||
		    i->op == 0xc3 || i->op == 0x68 || i->op == 0x6a)
			return GOES_ON;
		return r <= 2 || r == 6 || r == 7 ? ESCAPES
						  : GOES_ON; /* string operations, sign extensions, tests of rax */
	}
	if (i->map == 2 && (i->op & 0xf0) == 0x80)
		return GOES_ON;
	if (i->map == 2 && i->op == 0x0b)
		return DEAD; /* ud2 */
	return ESCAPES;
}

static int64_t branch_target(const struct od_sec *s, const struct insn *i, bool *external)
{
	int64_t rel;

	for (size_t k = 0; k < s->rel_count; k++) {
		if (s->rel[k].off < i->at || s->rel[k].off >= i->at + i->len)
			continue;
		/* a jump to another function is a tail call; one to the function's own other part goes on */
		uint32_t in = s->obj->sym[s->rel[k].sym].shndx;

		*external = true;
		return in && in < s->obj->sec_count && (s->obj->sec[in].hot == s || s->hot == &s->obj->sec[in]) ? -1
														: 0;
	}
	if (i->imm_len == 1) {
		rel = (int8_t)s->data[i->imm_at];
	} else {
		int32_t v;

		memcpy(&v, s->data + i->imm_at, 4);
		rel = v;
	}
	*external = false;
	return (int64_t)(i->at + i->len) + rel;
}

/* May the call or tail jump pass the register as an argument? */
static bool passed(const struct od_sec *s, const struct insn *i, unsigned r)
{
	static const uint8_t order[] = {7, 6, 2, 1, 8, 9};
	unsigned n = sizeof(order);

	for (size_t k = 0; k < s->rel_count; k++) {
		const struct od_sym *y = &s->obj->sym[s->rel[k].sym];

		if (s->rel[k].off >= i->at && s->rel[k].off < i->at + i->len && y->outside &&
		    (is_branch(i) || od_rel_is_got(s, &s->rel[k])))
			n = od_argument_count(y->name);
	}
	for (unsigned k = 0; k < n && k < sizeof(order); k++)
		if (order[k] == r)
			return true;
	return false;
}

#define MAX_WALK 4096u

/* Follows every path from `at` until the register is overwritten or the address gets away. */
static bool walk(const struct od_sec *s, uint64_t at, unsigned r)
{
	uint64_t todo[64], seen[256];
	size_t n = 0, known = 0, steps = 0;
	struct insn i;

	if (s->pads && !caller_saved(r))
		return false; /* the unwinder takes it to a landing pad */
	todo[n++] = at;
	while (n) {
		at = todo[--n];
		for (;; at += i.len) {
			bool external = false, jump, conditional, dup = false;
			int64_t t;

			if (++steps > MAX_WALK || !decode(s->data, s->size, at, &i))
				return false;
			switch (step(&i, r)) {
			case ESCAPES:
				return false;
			case DEAD:
				goto next;
			default:
				break;
			}
			if (i.map == 1 && i.op == 0xc3) {
				if (r == 0 || r == 2)
					return false;
				goto next;
			}
			if ((i.map == 1 && i.op == 0xe8) || (i.map == 1 && i.op == 0xff && (i.reg & 7) == 2)) {
				if (passed(s, &i, r))
					return false;
				if (caller_saved(r))
					goto next;
				continue;
			}
			if (i.map == 1 && i.op == 0xff && ((i.reg & 7) == 4 || (i.reg & 7) == 5))
				return false;
			conditional = (i.map == 1 && i.op >= 0x70 && i.op <= 0x7f) ||
				      (i.map == 2 && !i.vex && (i.op & 0xf0) == 0x80);
			jump = i.map == 1 && (i.op == 0xe9 || i.op == 0xeb);
			if (!conditional && !jump)
				continue;
			t = branch_target(s, &i, &external);
			if (t < 0 || (uint64_t)t >= s->size)
				return false;
			if (external) {
				if (passed(s, &i, r) || !caller_saved(r))
					return false;
				if (jump)
					goto next;
				continue;
			}
			for (size_t k = 0; k < known; k++)
				dup = dup || seen[k] == (uint64_t)t;
			if (!dup) {
				if (n == sizeof(todo) / sizeof(*todo) || known == sizeof(seen) / sizeof(*seen))
					return false;
				seen[known++] = todo[n++] = (uint64_t)t;
			}
			if (jump)
				goto next;
		}
	next:;
	}
	return true;
}

bool od_x86_64_only_loads(const struct od_sec *s, const struct od_rel *r)
{
	struct insn i;
	unsigned reg;

	if (!find_insn(s, r->off, &i))
		return false;
	if (i.memory && i.disp_at == r->off && !od_rel_is_got(s, r) && !(i.map == 1 && i.op == 0x8d))
		return true;
	if (i.map == 1 && (i.op == 0x8d || (i.op == 0x8b && od_rel_is_got(s, r))) && i.disp_at == r->off && i.riprel)
		reg = i.reg;
	else if (i.map == 1 && i.op >= 0xb8 && i.op <= 0xbf && i.imm_at == r->off)
		reg = i.reg;
	else if (i.map == 1 && i.op == 0xc7 && !i.memory && i.imm_at == r->off)
		reg = i.rm;
	else
		return false;
	return walk(s, i.at + i.len, reg);
}
