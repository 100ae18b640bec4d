/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patch sites of riscv64. One NOP becomes one direct jump into the function's own prefix, byte by byte: more than one
 * byte at a time is not stored as one (the kernel's memcpy promises it to nobody, and on a riscv64 kernel it is not).
 * Every word between is a HINT, which changes nothing but the program counter:
 *
 *	nop [nop]		13 00 00 00  addi x0, x0, 0	four-byte NOPs, flags 8,6 and no C extension
 *				13 F0 00 00  andi x0, ...	funct3 of the jump's offset is 7
 *				13 F0 xF 00  andi x0, ...
 *				13 F0 xF xx  andi x0, ...
 *				6F F0 xF xx  jal  x0, prefix	the opcode last: it alone makes it a jump
 *
 *	c.nop [c.nop]		01 00  c.nop			two-byte NOPs, flags 34,32
 *				7D 00  c.nop 31			rd, whose lowest bit is bit 6 of the jump's offset, is
 *x0 7D BF  c.j  entry-64
 *
 * The RISC-V Instruction Set Manual, volume I: 2.9 and 27.4 list the HINTs; an instruction fetch gets the old byte or
 *the new one until the hart executes FENCE.I (volume I, Zifencei), and klp has every hart do that behind each store
 * (invariant S3). Two states differ in one byte, so it does not matter how many pieces a fetch consists of.
 *
 * Of c.j bit 6 of the offset is the lowest bit of c.nop's register field. Where it is 1 the state between would be an
 * addition to ra; the high byte first would be a jump to elsewhere. So with the C extension the PLT entry lies 66 bytes
 * before the site, and a prefix with less room is refused.
 *
 * The instruction at the symbol stays (invariant S4).
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include "patchsite/arch.h"
#include "patchsite/arch/riscv64/insn.h"

#define LONG 4u
#define SHORT 2u
#define PREFIX_LEN 12u   /* auipc, ld, jr: arch/riscv64/prefix.c of plt/ */
#define SHORT_PREFIX 64u /* where the PLT entry begins, before the symbol, of a site that c.j arms */
#define LPAD_MASK 0xfffu /* auipc x0: Zicfilp's landing pad */
#define LPAD 0x017u

static bool is_long(const uint8_t *p, size_t len)
{
	return len >= LONG && klp_insn_get32(p) == KLP_RV_NOP;
}

static bool is_short(const uint8_t *p, size_t len)
{
	return len >= SHORT && klp_insn_get16(p) == KLP_RV_C_NOP;
}

static size_t landing_pad(const uint8_t *p, size_t len)
{
	return len >= LONG && (klp_insn_get32(p) & LPAD_MASK) == LPAD ? LONG : 0;
}

static bool all_nops(const uint8_t *p, size_t len)
{
	size_t i = 0;

	while (i < len)
		if (is_short(p + i, len - i))
			i += SHORT;
		else if (is_long(p + i, len - i))
			i += LONG;
		else
			return false;
	return true;
}

/*
 * A breakpoint is two bytes where the kernel has the C extension, whatever it replaces. The rest of a four-byte NOP,
 * 00 00, is no instruction, so it tells which NOP it was.
 */
static bool is_probe(const uint8_t *p, size_t len, bool *was_long)
{
	*was_long = len >= LONG && (klp_insn_get32(p) == KLP_RV_EBREAK || !klp_insn_get16(p + SHORT));
	return len >= SHORT &&
	       (klp_insn_get16(p) == KLP_RV_C_EBREAK || (len >= LONG && klp_insn_get32(p) == KLP_RV_EBREAK));
}

static bool hide_probe(uint8_t *p, size_t len)
{
	bool was_long;

	if (!is_probe(p, len, &was_long))
		return false;
	if (was_long)
		klp_insn_put32(p, KLP_RV_NOP);
	else
		klp_insn_put16(p, KLP_RV_C_NOP);
	return true;
}

static unsigned site_len(enum klp_site_layout layout)
{
	return layout == KLP_SITE_RV_CNOP ? SHORT : LONG;
}

static int decode(const uint8_t *p, size_t left, struct klp_site *s, struct klp_error *e)
{
	uint32_t need;

	if (left < 2 * SHORT)
		return klp_fail(e, EINVAL, KLP_SITE_UNKNOWN, "the function's code ends behind its symbol");
	if (landing_pad(p, left))
		return klp_fail(e, EINVAL, KLP_SITE_UNKNOWN,
				"the function begins with a landing pad (lpad), which klp's own code has none of");
	if (is_long(p, left) && is_long(p + LONG, left - LONG)) {
		s->layout = KLP_SITE_RV_NOP;
		need = PREFIX_LEN;
	} else if (is_short(p, left) && is_short(p + SHORT, left - SHORT)) {
		s->layout = KLP_SITE_RV_CNOP;
		need = SHORT_PREFIX;
	} else {
		return klp_fail(e, EINVAL, KLP_SITE_UNKNOWN,
				"the function does not begin with two NOPs of one size (found %04x %04x): compile with "
				"-fpatchable-function-entry=8,6",
				klp_insn_get16(p), klp_insn_get16(p + SHORT));
	}
	if (s->prefix_len < need && s->layout == KLP_SITE_RV_CNOP)
		return klp_fail(e, EINVAL, KLP_PREFIX_TOO_SMALL,
				"the function's NOPs are compressed and its prefix has %u bytes: c.j can be stored "
				"byte by byte only from %u bytes away: compile with -fpatchable-function-entry=34,32, "
				"or 8,6 and without compressed instructions (-march=rv64g)",
				s->prefix_len, SHORT_PREFIX);
	if (s->prefix_len < need)
		return klp_fail(e, EINVAL, KLP_PREFIX_TOO_SMALL,
				"the function's prefix has %u bytes, its PLT entry needs %u: compile with "
				"-fpatchable-function-entry=8,6",
				s->prefix_len, PREFIX_LEN);
	s->site = s->entry + site_len(s->layout);
	s->body = s->site + site_len(s->layout);
	s->jump_target = s->entry - need;
	return 0;
}

/* A site that was rebuilt from its record has the PLT entry's first instruction as its prefix. */
static size_t arm_stores(const struct klp_site *s, struct klp_site_store out[KLP_SITE_MAX_STORES])
{
	uint64_t to = s->jump_target ? s->jump_target : s->prefix;
	unsigned len = site_len(s->layout);
	uint8_t old[LONG], new[LONG];

	if (s->site % SHORT || to % SHORT || to >= s->site || s->site - to > KLP_SITE_MAX_PREFIX)
		return 0;
	if (s->layout == KLP_SITE_RV_NOP) {
		klp_insn_put32(old, KLP_RV_NOP);
		klp_insn_put32(new, klp_rv_jal(KLP_RV_ZERO, to - s->site));
	} else if (s->layout == KLP_SITE_RV_CNOP && s->site - to == SHORT_PREFIX + SHORT) {
		klp_insn_put16(old, KLP_RV_C_NOP);
		klp_insn_put16(new, klp_rv_c_j(to - s->site));
	} else {
		return 0;
	}
	for (unsigned i = 0; i < len; i++) {
		/* 1, 2, 3, 0: the opcode is the first byte; 0, 1: it is in the second. */
		unsigned at = len == LONG ? (i + 1) % LONG : i;

		out[i] = (struct klp_site_store){.addr = s->site + at, .width = 1};
		out[i].expect[0] = old[at];
		out[i].value[0] = new[at];
	}
	return len;
}

static enum klp_site_state state(const struct klp_site *s, const uint8_t *bytes, size_t len, size_t *done)
{
	struct klp_site_store st[KLP_SITE_MAX_STORES];
	size_t n = arm_stores(s, st), width = site_len(s->layout);
	uint8_t now[LONG];
	bool ignored;

	*done = 0;
	if (!n || s->site - s->entry != width || len < 2 * width)
		return KLP_STATE_FOREIGN;
	/*
	 * The symbol's own instruction is not ours. A breakpoint there executes what it replaced and resumes behind it,
	 * which is at the site: the patch stays effective.
	 */
	if (!is_probe(bytes, width, &ignored) && !(width == LONG ? is_long(bytes, len) : is_short(bytes, len)))
		return KLP_STATE_FOREIGN;
	for (size_t i = 0; i < n; i++)
		now[st[i].addr - s->site] = st[i].expect[0];
	for (size_t i = 0;; i++) {
		if (!memcmp(bytes + width, now, width)) {
			*done = i;
			return !i ? KLP_STATE_DORMANT : i == n ? KLP_STATE_ARMED : KLP_STATE_PARTIAL;
		}
		if (i == n)
			return KLP_STATE_FOREIGN;
		now[st[i].addr - s->site] = st[i].value[0];
	}
}

const struct klp_site_arch klp_site_arch_riscv64 = {
    .machine = EM_RISCV,
    .name = "riscv64",
    .alignment = SHORT,
    .decode = decode,
    .arm_stores = arm_stores,
    .state = state,
    .landing_pad = landing_pad,
    .all_nops = all_nops,
    .hide_probe = hide_probe,
    .site_len = site_len,
    .reloc_abs64 = R_RISCV_64,
    .reloc_relative = R_RISCV_RELATIVE,
};
