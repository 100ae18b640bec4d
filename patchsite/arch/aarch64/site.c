/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patch sites of aarch64. One NOP becomes one direct branch into the function's own prefix, by one store of four
 * aligned bytes:
 *
 *	layout	dormant				armed				goes on at
 *	NOP	nop   [nop]			nop   [b prefix]		entry+8
 *	BTI	bti c [nop]			bti c [b prefix]		entry+8
 *
 * Arm ARM (DDI 0487) B2.2.5, "Concurrent modification and execution of instructions": B and NOP are among the
 * instructions of which one may be replaced by the other while another PE executes there; each fetch gets the old one
 * or the new one. MOV, LDR, ADRP and BTI are not, so nothing else is ever stored where a thread may be.
 *
 * The instruction at the symbol stays (invariant S4): the first NOP, or the landing pad where indirect branches arrive.
 * A function with neither two NOPs nor a landing pad and a NOP is refused; so is one that signs its return address
 * first (paciasp at the symbol), for its replacement signs again.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include "patchsite/arch.h"

#define INSN 4u
#define NOP 0xd503201fu
#define BTI_C 0xd503245fu
#define BTI_JC 0xd50324dfu
#define BRK_MASK 0xffe0001fu
#define BRK 0xd4200000u
#define B 0x14000000u
#define B_OFFSET_MASK 0x03ffffffu
#define PREFIX_LEN 12u /* adrp, ldr, br: arch/aarch64/prefix.c of plt/ */

static uint32_t insn_at(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void insn_put(uint8_t *p, uint32_t v)
{
	for (unsigned i = 0; i < INSN; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static bool is_landing_pad(uint32_t v)
{
	return v == BTI_C || v == BTI_JC;
}

static size_t landing_pad(const uint8_t *p, size_t len)
{
	return len >= INSN && is_landing_pad(insn_at(p)) ? INSN : 0;
}

static bool all_nops(const uint8_t *p, size_t len)
{
	if (len % INSN)
		return false;
	for (size_t i = 0; i < len; i += INSN)
		if (insn_at(p + i) != NOP)
			return false;
	return true;
}

/* Of NOP and landing pad the bytes behind a breakpoint do not tell: the NOP, for both have their site in one place. */
static bool hide_probe(uint8_t *p, size_t len)
{
	if (len < INSN || (insn_at(p) & BRK_MASK) != BRK)
		return false;
	insn_put(p, NOP);
	return true;
}

static int decode(const uint8_t *p, size_t left, struct klp_site *s, struct klp_error *e)
{
	uint32_t first, second;

	if (left < 2 * INSN)
		return klp_fail(e, EINVAL, KLP_SITE_UNKNOWN, "the function's code ends behind its symbol");
	first = insn_at(p);
	second = insn_at(p + INSN);
	if (second != NOP || (first != NOP && !is_landing_pad(first)))
		return klp_fail(
		    e, EINVAL, KLP_SITE_UNKNOWN,
		    "the function does not begin with two NOPs, or a landing pad and a NOP (found %08x %08x): "
		    "compile with -fpatchable-function-entry=6,4",
		    first, second);
	if (s->prefix_len < PREFIX_LEN)
		return klp_fail(e, EINVAL, KLP_PREFIX_TOO_SMALL,
				"the function's prefix has %u bytes, its PLT entry needs %u: compile with "
				"-fpatchable-function-entry=6,4",
				s->prefix_len, PREFIX_LEN);
	s->layout = first == NOP ? KLP_SITE_A64_NOP : KLP_SITE_A64_BTI;
	s->site = s->entry + INSN;
	s->body = s->site + INSN;
	s->jump_target = s->entry - PREFIX_LEN;
	return 0;
}

/* A site that was rebuilt from its record has the PLT entry's first instruction as its prefix. */
static size_t arm_stores(const struct klp_site *s, struct klp_site_store out[KLP_SITE_MAX_STORES])
{
	uint64_t to = s->jump_target ? s->jump_target : s->prefix;

	if ((s->layout != KLP_SITE_A64_NOP && s->layout != KLP_SITE_A64_BTI) || s->site % INSN || to % INSN ||
	    to >= s->site || s->site - to > KLP_SITE_MAX_PREFIX)
		return 0;
	out[0] = (struct klp_site_store){.addr = s->site, .width = INSN};
	insn_put(out[0].expect, NOP);
	insn_put(out[0].value, B | ((uint32_t)((to - s->site) >> 2) & B_OFFSET_MASK));
	return 1;
}

static enum klp_site_state state(const struct klp_site *s, const uint8_t *bytes, size_t len, size_t *done)
{
	struct klp_site_store st[KLP_SITE_MAX_STORES];
	uint32_t first;

	*done = 0;
	if (!arm_stores(s, st) || s->site - s->entry != INSN || len < 2 * INSN)
		return KLP_STATE_FOREIGN;
	/*
	 * The symbol's own instruction is not ours. A breakpoint there executes what it replaced and resumes behind it,
	 * which is at the site: the patch stays effective.
	 */
	first = insn_at(bytes);
	if ((first & BRK_MASK) != BRK && (s->layout == KLP_SITE_A64_NOP ? first != NOP : !is_landing_pad(first)))
		return KLP_STATE_FOREIGN;
	if (!memcmp(bytes + INSN, st[0].expect, INSN))
		return KLP_STATE_DORMANT;
	if (memcmp(bytes + INSN, st[0].value, INSN))
		return KLP_STATE_FOREIGN;
	*done = 1;
	return KLP_STATE_ARMED;
}

static unsigned site_len(enum klp_site_layout layout)
{
	(void)layout;
	return INSN;
}

const struct klp_site_arch klp_site_arch_aarch64 = {
    .machine = EM_AARCH64,
    .name = "aarch64",
    .alignment = INSN,
    .decode = decode,
    .arm_stores = arm_stores,
    .state = state,
    .landing_pad = landing_pad,
    .all_nops = all_nops,
    .hide_probe = hide_probe,
    .site_len = site_len,
    .reloc_abs64 = R_AARCH64_ABS64,
    .reloc_relative = R_AARCH64_RELATIVE,
};
