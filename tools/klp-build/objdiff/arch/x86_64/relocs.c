/* SPDX-License-Identifier: Apache-2.0 */
/* Relocations of x86_64 (psABI, table 4.9), what linkers make of them, and PLT entries. */
#include <string.h>
#include "tools/klp-build/objdiff/arch/x86_64/insn.h"
#include "tools/klp-build/objdiff/linked.h"

static struct od_rel_info find_rel(uint32_t type)
{
	struct od_rel_info i = {.class = OD_REL_UNKNOWN, .width = 4};

	switch (type) {
	case R_X86_64_NONE:
		i.class = OD_REL_NONE;
		i.width = 0;
		break;
	case R_X86_64_64:
		i.class = OD_REL_ADDRESS;
		i.width = 8;
		i.word = true;
		break;
	case R_X86_64_32:
	case R_X86_64_32S:
		i.class = OD_REL_ADDRESS;
		break;
	case R_X86_64_PC32:
	case R_X86_64_PLT32:
	case R_X86_64_PC64:
		i.class = OD_REL_ADDRESS;
		i.width = type == R_X86_64_PC64 ? 8 : 4;
		i.bias = 4;
		i.pc = true;
		break;
	case R_X86_64_GOTPCREL:
	case R_X86_64_GOTPCRELX:
	case R_X86_64_REX_GOTPCRELX:
		i.class = OD_REL_GOT;
		i.bias = 4;
		break;
	case R_X86_64_TPOFF64:
	case R_X86_64_DTPOFF64:
		i.width = 8;
		i.class = OD_REL_TLS;
		break;
	case R_X86_64_TPOFF32:
	case R_X86_64_GOTTPOFF:
	case R_X86_64_TLSGD:
	case R_X86_64_TLSLD:
	case R_X86_64_DTPOFF32:
	case R_X86_64_GOTPC32_TLSDESC:
		i.class = OD_REL_TLS;
		break;
	case R_X86_64_TLSDESC_CALL: /* marks the call, which has two bytes */
		i.width = 2;
		i.class = OD_REL_TLS;
		break;
	default:
		break;
	}
	return i;
}

static enum od_slot find_slot(uint32_t type)
{
	switch (type) {
	case R_X86_64_JUMP_SLOT:
		return OD_SLOT_JUMP;
	case R_X86_64_GLOB_DAT:
		return OD_SLOT_ADDRESS;
	case R_X86_64_RELATIVE:
		return OD_SLOT_RELATIVE;
	case R_X86_64_COPY:
		return OD_SLOT_COPY;
	case R_X86_64_TPOFF64:
		return OD_SLOT_TPOFF;
	case R_X86_64_DTPMOD64:
		return OD_SLOT_DTPMOD;
	case R_X86_64_TLSDESC:
		return OD_SLOT_DESC;
	default:
		return OD_SLOT_OTHER;
	}
}

/* Linkers rewrite whole instructions of slots and of thread-local variables. */
static uint8_t link_mask(const struct od_rel *r, uint64_t off)
{
	struct od_rel_info i = find_rel(r->type);
	uint64_t slot = r->type == R_X86_64_REX_GOTPCRELX ? 3 : 2;
	uint64_t before = i.class == OD_REL_GOT ? slot : i.class == OD_REL_TLS ? 4 : 0;
	uint64_t after = r->type == R_X86_64_TLSGD || r->type == R_X86_64_TLSLD ? 12 : i.width > 4 ? i.width : 4;

	return off + before >= r->off && off < r->off + after ? 0xff : 0;
}

static struct od_operand found(bool slot, uint64_t value)
{
	return (struct od_operand){.valid = true, .whole = true, .slot = slot, .value = value};
}

static struct od_operand read_operand(const struct lk *l, uint64_t at, const struct od_rel *r)
{
	const uint8_t *b = at < 4 ? NULL : lk_bytes(l, at - 4, 8);
	uint64_t near;
	int32_t v;

	if (!b)
		return (struct od_operand){.valid = false};
	b += 4;
	memcpy(&v, b, 4);
	near = at + 4 + (uint64_t)(int64_t)v;
	switch (r->type) {
	case R_X86_64_PC32:
	case R_X86_64_PLT32:
		return found(false, at + (uint64_t)(int64_t)v - (uint64_t)r->addend);
	case R_X86_64_32:
		return found(false, (uint64_t)(uint32_t)v - (uint64_t)r->addend);
	case R_X86_64_32S:
		return found(false, (uint64_t)(int64_t)v - (uint64_t)r->addend);
	case R_X86_64_GOTPCREL:
	case R_X86_64_GOTPCRELX:
	case R_X86_64_REX_GOTPCRELX:
		if (b[-2] == 0x8b || (b[-2] == 0xff && (b[-1] == 0x15 || b[-1] == 0x25)) || (b[-2] & 0xc7) == 0x03 ||
		    b[-2] == 0x85)
			return found(true, near);
		if (b[-2] == 0x8d || (b[-2] == 0x67 && b[-1] == 0xe8))
			return found(false, near);
		if (b[-2] == 0xe9) {
			memcpy(&v, b - 1, 4);
			return found(false, at + 3 + (uint64_t)(int64_t)v);
		}
		if (b[-2] == 0xc7)
			return found(false, (uint64_t)(int64_t)v);
		return (struct od_operand){.valid = false};
	default:
		return (struct od_operand){.valid = false};
	}
}

/*
 * A load from a slot may have become the address itself, an indirect call a direct one (psABI, "optimize GOTPCRELX").
 * `w` and `b` are what was and what is there, from the opcode on; with `rex` that is before it.
 */
static bool as_rewritten(const uint8_t *w, const uint8_t *b, bool rex)
{
	if (w[0] == 0x8b && b[0] == 0x8d)
		return w[1] == b[1] && (!rex || w[-1] == b[-1]);
	if (w[0] == 0x8b && b[0] == 0xc7)
		return b[1] == (0xc0 | (w[1] >> 3 & 7)) && (!rex || b[-1] == ((w[-1] & 0xf8) | (w[-1] >> 2 & 1)));
	if (w[0] == 0xff && w[1] == 0x15)
		return b[0] == 0x67 && b[1] == 0xe8;
	return w[0] == 0xff && w[1] == 0x25 && b[0] == 0xe9 && b[5] == 0x90;
}

static bool as_linked(const struct lk *l, uint64_t at, const struct od_sec *s, const struct od_rel *r)
{
	uint64_t before = r->type == R_X86_64_REX_GOTPCRELX ? 3 : 2;
	const uint8_t *w, *b;

	if (find_rel(r->type).class != OD_REL_GOT)
		return true;
	b = at < before ? NULL : lk_bytes(l, at - before, before + 4);
	if (!b || !s->data || r->off < before || r->off > s->size || s->size - r->off < 4)
		return false;
	w = s->data + r->off - before;
	return !memcmp(w, b, before) || as_rewritten(w + before - 2, b + before - 2, before == 3);
}

/* Local exec: links change nothing about it. The block ends where the thread pointer leads to. */
static bool tls_offset(const struct lk *l, uint64_t at, const struct od_sec *s, const struct od_rel *r, uint64_t offset)
{
	const uint8_t *b = at < 4 ? NULL : lk_bytes(l, at - 4, 8);
	uint64_t before = r->off < 4 ? r->off : 4;
	int32_t v;

	if (r->type != R_X86_64_TPOFF32 || !b || !s->data || r->off > s->size || s->size - r->off < 4 ||
	    memcmp(b + 4 - before, s->data + r->off - before, before))
		return false;
	memcpy(&v, b + 4, 4);
	for (size_t i = 0; i < l->ph_count; i++) {
		const Elf64_Phdr *p = &l->ph[i];
		uint64_t align = p->p_align ? p->p_align : 1;

		if (p->p_type == PT_TLS)
			return (uint64_t)(int64_t)v ==
			       offset + (uint64_t)r->addend - (p->p_memsz + align - 1) / align * align;
	}
	return false;
}

/* jmp *slot(%rip), behind endbr64 or bnd. */
static size_t read_plt(const uint8_t *code, uint64_t size, uint64_t addr, uint64_t entsize, struct lk_plt *out)
{
	uint64_t step = entsize == 8 ? 8 : 16;
	size_t n = 0;

	for (uint64_t at = 0; at + step <= size; at += step)
		for (uint64_t k = at; k + 6 <= at + step; k++) {
			int32_t d;

			if (code[k] != 0xff || code[k + 1] != 0x25)
				continue;
			memcpy(&d, code + k + 2, 4);
			out[n++] = (struct lk_plt){addr + at, addr + k + 6 + (uint64_t)(int64_t)d};
			break;
		}
	return n;
}

static const struct od_arch_modules modules = {
    .indirect = "-mno-direct-extern-access",
    .slot = find_slot,
    .use = od_x86_64_use,
    .own_address = od_x86_64_own_address,
    .link_mask = link_mask,
    .operand = read_operand,
    .as_linked = as_linked,
    .tls_offset = tls_offset,
    .plt = read_plt,
};

const struct od_arch od_x86_64 = {
    .name = "x86_64",
    .machine = EM_X86_64,
    .rel = find_rel,
    .only_loads = od_x86_64_only_loads,
    .modules = &modules,
};
