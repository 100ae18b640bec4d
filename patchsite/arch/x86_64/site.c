/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patch sites of x86_64. Two bytes become a short jump into the function's own prefix, by two stores of one byte each:
 *
 *	layout		dormant			half		armed			jumps to	instruction
 *behind ENTRY1		90 [90 90]		90 90 F5	90 EB F5		entry-8		entry+3
 *	ENTRY1_2BYTE	90 [66 90]		90 66 F5	90 EB F5		entry-8		entry+3
 *	ENTRY0		[90 90]			90 F8		EB F8			entry-6		entry+2
 *	ENTRY0_2BYTE	[66 90]			66 F8		EB F8			entry-6		entry+2
 *	ENDBR		F3 0F 1E FA [90 90]	.. 90 F5	.. EB F5		entry-5		entry+6
 *	ENDBR_2BYTE	F3 0F 1E FA [66 90]	.. 66 F5	.. EB F5		entry-5		entry+6
 *
 * The second byte is chosen so that it is a harmless instruction of its own, for a thread that was preempted between
 *two NOPs of one byte: F5 is cmc, F8 is clc, and the flags are dead at a function's entry. In the half state the pair
 *is a NOP and a flag instruction, or one flag instruction with an operand size prefix that has no effect. So at every
 *instant each PC at which a thread can be starts a valid instruction that leads either to the prefix or to the body
 *(invariant S1).
 *
 * ENTRY0 contains the symbol's own instruction: a uprobe there executes the file's NOP and resumes behind it (S4).
 *
 * A site that is one NOP of three or more bytes (0F 1F 00, clang with more than two NOPs) is refused. There is an order
 *of stores for it, through cmp $imm8,%al, but a uprobe that is removed later puts 0F in front of EB F5, and 0F EB F5 is
 *por on mmx registers.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include "patchsite/arch.h"

#define NOP 0x90
#define OPSIZE 0x66
#define INT3 0xcc
#define JMP8 0xeb
#define CMC 0xf5
#define CLC 0xf8
#define ENDBR_LEN 4u
#define MAX_INSN 15u
#define ENTRY1_REACH 8u /* the PLT entry begins that many bytes before the symbol; `jmp *slot(%rip)` needs 6 */
#define ENTRY0_REACH 6u
#define ENDBR_REACH 5u /* `jmp hop` */

static const uint8_t endbr64[ENDBR_LEN] = {0xf3, 0x0f, 0x1e, 0xfa};

static size_t landing_pad(const uint8_t *p, size_t len)
{
	return len >= ENDBR_LEN && !memcmp(p, endbr64, ENDBR_LEN) ? ENDBR_LEN : 0;
}

static bool is_legacy_prefix(uint8_t b)
{
	/* Operand size and segment overrides, as assemblers put before long NOPs. Not F2, F3, F0. */
	return b == OPSIZE || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x26 || b == 0x64 || b == 0x65;
}

/* Bytes of the NOP instruction at p, 0 if there is another instruction or it is cut off. */
static size_t nop_len(const uint8_t *p, size_t len)
{
	size_t i = 0, mod, rm;

	if (len > MAX_INSN)
		len = MAX_INSN;
	while (i < len && is_legacy_prefix(p[i]))
		i++;
	if (i < len && p[i] == NOP)
		return i + 1;
	if (i < len && (p[i] & 0xf8) == 0x48) /* REX.W without register extensions is harmless before 0F 1F */
		i += p[i] == 0x48;
	if (len - i < 3 || p[i] != 0x0f || p[i + 1] != 0x1f || (p[i + 2] & 0x38))
		return 0;
	mod = p[i + 2] >> 6;
	rm = p[i + 2] & 7;
	i += 3;
	if (mod != 3 && rm == 4) {
		if (i >= len)
			return 0;
		if (mod == 0 && (p[i] & 7) == 5)
			i += 4;
		i++;
	} else if (mod == 0 && rm == 5) {
		i += 4;
	}
	if (mod == 1)
		i += 1;
	else if (mod == 2)
		i += 4;
	return i <= len ? i : 0;
}

static bool all_nops(const uint8_t *p, size_t len)
{
	while (len) {
		size_t n = nop_len(p, len);

		if (!n)
			return false;
		p += n;
		len -= n;
	}
	return true;
}

/* The two bytes of a site: one-byte NOPs, or one NOP of two bytes. */
static bool is_pair(const uint8_t *p, bool *two_byte)
{
	*two_byte = p[0] == OPSIZE;
	return (p[0] == NOP || p[0] == OPSIZE) && p[1] == NOP;
}

static bool hide_probe(uint8_t *p, size_t len)
{
	if (len < ENDBR_LEN || p[0] != INT3)
		return false;
	p[0] = memcmp(p + 1, endbr64 + 1, ENDBR_LEN - 1) ? NOP : endbr64[0];
	return true;
}

static int too_small(uint32_t have, uint32_t want, struct klp_error *e)
{
	return klp_fail(e, EINVAL, KLP_PREFIX_TOO_SMALL,
			"the function's prefix has %u bytes, its PLT entry needs %u: compile with "
			"-fpatchable-function-entry=19,16 (clang: 16,14)",
			have, want);
}

static int decode(const uint8_t *p, size_t left, struct klp_site *s, struct klp_error *e)
{
	size_t pad = landing_pad(p, left);
	uint32_t reach;
	uint8_t b[4] = {0}; /* what stands behind the landing pad; zero where the code ends */
	bool two = false;

	memcpy(b, p + pad, left - pad < sizeof(b) ? left - pad : sizeof(b));

	if (pad) {
		if (!is_pair(b, &two))
			goto unknown;
		s->layout = two ? KLP_SITE_X86_ENDBR_2BYTE : KLP_SITE_X86_ENDBR;
		s->site = s->entry + ENDBR_LEN;
		reach = ENDBR_REACH;
	} else if (b[0] == NOP && s->prefix_len >= ENTRY1_REACH && is_pair(b + 1, &two)) {
		s->layout = two ? KLP_SITE_X86_ENTRY1_2BYTE : KLP_SITE_X86_ENTRY1;
		s->site = s->entry + 1;
		reach = ENTRY1_REACH;
	} else if (is_pair(b, &two)) {
		s->layout = two ? KLP_SITE_X86_ENTRY0_2BYTE : KLP_SITE_X86_ENTRY0;
		s->weak_to_uprobe = true;
		s->site = s->entry;
		reach = ENTRY0_REACH;
	} else {
		goto unknown;
	}
	if (s->prefix_len < reach)
		return too_small(s->prefix_len, reach, e);
	s->body = s->site + 2;
	s->jump_target = s->entry - reach;
	return 0;
unknown:
	if (nop_len(b, sizeof(b)) > 2 || (b[0] == 0x0f && b[1] == 0x1f))
		return klp_fail(
		    e, EINVAL, KLP_SITE_UNKNOWN,
		    "the function's entry is one long NOP (%02x %02x %02x), which single stores cannot change "
		    "safely: with clang compile with -fpatchable-function-entry=16,14",
		    b[0], b[1], b[2]);
	return klp_fail(e, EINVAL, KLP_SITE_UNKNOWN,
			"the function has no two bytes of NOPs at its entry (found %02x %02x %02x%s)", b[0], b[1], b[2],
			pad ? " behind endbr64" : "");
}

static uint8_t first_byte(const struct klp_site *s)
{
	return s->layout == KLP_SITE_X86_ENTRY0_2BYTE || s->layout == KLP_SITE_X86_ENTRY1_2BYTE ||
		       s->layout == KLP_SITE_X86_ENDBR_2BYTE
		   ? OPSIZE
		   : NOP;
}

static size_t arm_stores(const struct klp_site *s, struct klp_site_store out[KLP_SITE_MAX_STORES])
{
	uint8_t rel = s->layout == KLP_SITE_X86_ENTRY0 || s->layout == KLP_SITE_X86_ENTRY0_2BYTE ? CLC : CMC;

	if (s->layout == KLP_SITE_NONE)
		return 0;
	out[0] = (struct klp_site_store){.addr = s->site + 1, .width = 1, .expect = {NOP}, .value = {rel}};
	out[1] = (struct klp_site_store){.addr = s->site, .width = 1, .expect = {first_byte(s)}, .value = {JMP8}};
	return 2;
}

static enum klp_site_state state(const struct klp_site *s, const uint8_t *bytes, size_t len, size_t *done)
{
	struct klp_site_store st[KLP_SITE_MAX_STORES];
	uint64_t at = s->site - s->entry;
	uint8_t first, second;

	*done = 0;
	if (!arm_stores(s, st) || at > ENDBR_LEN || len < at + 2)
		return KLP_STATE_FOREIGN;
	first = bytes[at];
	second = bytes[at + 1];
	/*
	 * The symbol's own instruction is not ours. A breakpoint there executes what it replaced and resumes behind it,
	 * which is at the site: the patch stays effective.
	 */
	if (at == ENDBR_LEN &&
	    (memcmp(bytes + 1, endbr64 + 1, ENDBR_LEN - 1) || (bytes[0] != endbr64[0] && bytes[0] != INT3)))
		return KLP_STATE_FOREIGN;
	if (at == 1 && bytes[0] != NOP && bytes[0] != INT3)
		return KLP_STATE_FOREIGN;

	if (second == st[0].expect[0] && first == st[1].expect[0])
		return KLP_STATE_DORMANT;
	if (second != st[0].value[0])
		return KLP_STATE_FOREIGN;
	if (first == st[1].expect[0]) {
		*done = 1;
		return KLP_STATE_PARTIAL;
	}
	if (first == st[1].value[0]) {
		*done = 2;
		return KLP_STATE_ARMED;
	}
	/* A uprobe on the site itself: it executes the file's NOP and goes on in the body. */
	if (first == INT3 && at == 0) {
		*done = 2;
		return KLP_STATE_BYPASSED;
	}
	return KLP_STATE_FOREIGN;
}

static unsigned site_len(enum klp_site_layout layout)
{
	(void)layout;
	return 2;
}

const struct klp_site_arch klp_site_arch_x86_64 = {
    .machine = EM_X86_64,
    .name = "x86_64",
    .alignment = 1,
    .decode = decode,
    .arm_stores = arm_stores,
    .state = state,
    .landing_pad = landing_pad,
    .all_nops = all_nops,
    .hide_probe = hide_probe,
    .site_len = site_len,
    .reloc_abs64 = R_X86_64_64,
    .reloc_relative = R_X86_64_RELATIVE,
};
