/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patch sites, PLT entries and stubs of riscv64, on any host: against the disassembly of binutils, over the whole range
 * of their operands, on made-up bytes, and (FILE LAYOUT as arguments) on programs that a cross compiler has made. Every
 * state that a site goes through is decoded by a reading of the manual's list of HINTs that is this file's own.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disassembly.h"
#include "klp/runtime/rt.h"
#include "patchsite/patchsite.h"
#include "plt/arch/riscv64/encode.h"
#include "plt/plt.h"
#include "sites.h"

#define RV EM_RISCV
#define BASE 0x2aab1230000ull
#define ROUNDS 400u
#define EDGE 2048u /* what the two halves of a distance reach lies so far from 2 GiB */
#define MAX_PREFIX 4096u

static void disassemble(struct disassembly *d, const uint8_t *code, size_t len)
{
	disassembly_make(d, KLP_TEST_OBJDUMP, "riscv:rv64", code, len, BASE);
}

/* `auipc REG,high` and behind it `INSN low(REG)` or `addi REG,REG,low`: the address that both together mean. */
static uint64_t pair_address(const struct disassembly *d, uint64_t at, const char *reg, const char *insn)
{
	char first[32], second[32], want[32];
	unsigned high;
	int low;

	snprintf(want, sizeof(want), "auipc %s,0x%%x", reg);
	ck_assert_msg(sscanf(disassembly_at(d, at), want, &high) == 1, "%s", disassembly_at(d, at));
	snprintf(first, sizeof(first), "%s %s,%%d(%s)", insn, reg, reg);
	/* addi: older versions of objdump call it add. */
	snprintf(second, sizeof(second), "add%s %s,%s,%%d", !strncmp(disassembly_at(d, at + 4), "addi", 4) ? "i" : "",
		 reg, reg);
	snprintf(want, sizeof(want), "mv %s,%s", reg, reg);
	if (!strcmp(disassembly_at(d, at + 4), want))
		low = 0;
	else
		ck_assert_msg(sscanf(disassembly_at(d, at + 4), strcmp(insn, "addi") ? first : second, &low) == 1, "%s",
			      disassembly_at(d, at + 4));
	ck_assert(low >= -2048 && low < 2048 && high < 1u << 20);
	return at + (uint64_t)((int64_t)(int32_t)(high << 12) + low);
}

START_TEST(test_instructions)
{
	static const char *const name[] = {"t0", "t1", "a0", "t3"};
	static const unsigned number[] = {5, 6, 10, 28};
	static uint8_t code[ROUNDS * 24];
	static uint64_t to[ROUNDS][3];
	struct disassembly d;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t at = BASE + i * 24;
		uint8_t *p = code + i * 24;

		to[i][0] = at + within(i, 2 * GIB, 1) - EDGE;
		to[i][1] = at + 8 + within(i, 2 * GIB, 1) - EDGE;
		to[i][2] = at + 16 + within(i, MIB, 2);
		ck_assert(klp_rv_put_load(p, number[i % 4], at, to[i][0]));
		ck_assert(klp_rv_put_address(p + 8, number[i % 4], at + 8, to[i][1]));
		klp_insn_put32(p + 16, klp_rv_jal(0, to[i][2] - at - 16));
		klp_insn_put16(p + 20, klp_rv_c_j((uint64_t)(2 * i) - 2 * ROUNDS));
		klp_insn_put16(p + 22, KLP_RV_C_NOP);
	}
	disassemble(&d, code, sizeof(code));
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t at = BASE + i * 24;

		ck_assert_uint_eq(pair_address(&d, at, name[i % 4], "ld"), to[i][0]);
		ck_assert_uint_eq(pair_address(&d, at + 8, name[i % 4], "addi"), to[i][1]);
		disassembly_is(&d, at + 16, "j 0x%llx", (unsigned long long)to[i][2]);
		disassembly_is(&d, at + 20, "j 0x%llx", (unsigned long long)at + 20 + 2 * i - 2 * ROUNDS);
		ck_assert_uint_eq(klp_rv_jal_rel(klp_insn_get32(code + i * 24 + 16)), to[i][2] - at - 16);
	}
	disassembly_free(&d);
	for (uint64_t rel = -2048ull; rel != 2048; rel += 2)
		ck_assert_uint_eq(klp_rv_c_j_rel(klp_rv_c_j(rel)), rel);
	/* One step out of reach. */
	ck_assert(!klp_rv_put_load(code, 5, BASE, BASE + 2 * GIB - EDGE));
	ck_assert(!klp_rv_put_load(code, 5, BASE, BASE - 2 * GIB - EDGE - 1));
	ck_assert(!klp_rv_put_address(code, 5, BASE, BASE + 2 * GIB - EDGE));
	ck_assert(!klp_rv_put_address(code, 5, BASE, BASE - 2 * GIB - EDGE - 1));
}
END_TEST

/* What the decoders of jumps read is what binutils reads, for branches of every distance. */
START_TEST(test_branches)
{
	static uint8_t code[8192 * 4];
	struct disassembly d;
	const char *text;

	for (unsigned i = 0; i < 4096; i++) {
		uint32_t v = (uint32_t)random();

		klp_insn_put32(code + i * 8, (v & 0xffff8f80u) | 0x63u); /* beq */
		klp_insn_put16(code + i * 8 + 4, (v >> 3 & 0x1ffcu) | 0xc001u);
		klp_insn_put16(code + i * 8 + 6, (v >> 5 & 0x1ffcu) | 0xe001u);
	}
	disassemble(&d, code, sizeof(code));
	for (unsigned i = 0; i < 4096; i++) {
		uint64_t at = BASE + i * 8;

		text = strrchr(disassembly_at(&d, at), ',');
		ck_assert_msg(text &&
				  at + klp_rv_branch_rel(klp_insn_get32(code + i * 8)) == strtoull(text + 1, NULL, 16),
			      "%s", disassembly_at(&d, at));
		text = strrchr(disassembly_at(&d, at + 4), ',');
		ck_assert(text && at + 4 + klp_rv_c_branch_rel(klp_insn_get16(code + i * 8 + 4)) ==
				      strtoull(text + 1, NULL, 16));
		text = strrchr(disassembly_at(&d, at + 6), ',');
		ck_assert(text && at + 6 + klp_rv_c_branch_rel(klp_insn_get16(code + i * 8 + 6)) ==
				      strtoull(text + 1, NULL, 16));
	}
	disassembly_free(&d);
}
END_TEST

START_TEST(test_stub)
{
	static uint8_t code[ROUNDS * KLP_STUB_SIZE];
	static uint64_t record[ROUNDS], word[ROUNDS];
	struct klp_error e = KLP_ERROR_INIT;
	struct disassembly d;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t at = BASE + i * KLP_STUB_SIZE;

		record[i] = at + KLP_HOP_OFFSET + within(i, 2 * GIB - MIB, 8);
		word[i] = at + 8 + within(i, 2 * GIB - MIB, 8);
		ck_assert_int_eq(klp_stub_encode(RV, at, record[i], word[i], wide_random(), code + i * KLP_STUB_SIZE,
						 KLP_STUB_SIZE, &e),
				 0);
		ck_assert_uint_eq(klp_stub_original(RV, at, word[i]), word[i]);
	}
	disassemble(&d, code, sizeof(code));
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t at = BASE + i * KLP_STUB_SIZE;

		ck_assert_uint_eq(pair_address(&d, at, "t1", "addi"), record[i]);
		ck_assert_uint_eq(pair_address(&d, at + 8, "t0", "ld"), word[i]);
		disassembly_is(&d, at + 16, "jalr t0,t0");
		disassembly_is(&d, at + 20, "jr t1");
		disassembly_is(&d, at + 24, "ebreak");
		ck_assert_uint_eq(pair_address(&d, at + KLP_HOP_OFFSET, "t1", "ld"), record[i]);
		disassembly_is(&d, at + KLP_HOP_OFFSET + 8, "jr t1");
		for (unsigned k = KLP_HOP_OFFSET + 12; k < KLP_STUB_SIZE; k += 4)
			disassembly_is(&d, at + k, "ebreak");
	}
	disassembly_free(&d);
	ck_assert_int_eq(klp_stub_encode(RV, BASE, BASE + 2 * GIB, BASE, BASE, code, KLP_STUB_SIZE, &e), -ERANGE);
	ck_assert_int_eq(e.reason, KLP_NO_ROOM);
	ck_assert_int_eq(klp_stub_encode(RV, BASE, BASE, BASE - 3 * GIB, BASE, code, KLP_STUB_SIZE, &e), -ERANGE);
	ck_assert_int_eq(klp_stub_encode(RV, BASE, BASE, BASE, BASE, code, KLP_STUB_SIZE - 1, &e), -EINVAL);
}
END_TEST

START_TEST(test_prefix)
{
	static uint8_t code[ROUNDS * 96];
	static uint64_t slot[ROUNDS], hop[ROUNDS], place[ROUNDS];
	struct klp_error e = KLP_ERROR_INIT;
	uint8_t out[KLP_PREFIX_MAX];
	struct klp_site s = {0};
	struct disassembly d;
	uint64_t at;
	size_t len;

	for (unsigned k = 0; k < sizeof(code); k += 2)
		klp_insn_put16(code + k, KLP_RV_C_NOP);
	for (unsigned i = 0; i < ROUNDS; i++) {
		bool near = i < ROUNDS / 2, is_short = i % 2;

		s = (struct klp_site){.layout = is_short ? KLP_SITE_RV_CNOP : KLP_SITE_RV_NOP,
				      .entry = BASE + i * 96 + 72 + (is_short ? i % 4 & 2 : 0)};
		s.prefix_len = is_short ? 64 : near && i % 3 == 0 ? 12 : 24;
		s.prefix = s.entry - s.prefix_len;
		place[i] = s.entry - (is_short ? 64 : near ? 12 : 24);
		slot[i] = place[i] + within(i / 2, 2 * GIB - MIB, 8);
		if (!near)
			slot[i] += 9 * GIB;
		hop[i] = wide_random() & 0xfffcfffcfffcfffcull; /* objdump takes it for four short instructions */
		ck_assert_int_eq(klp_prefix_encode(RV, &s, slot[i], hop[i], out, &at, &len, &e), 0);
		ck_assert_uint_eq(at, place[i]);
		ck_assert_uint_eq(len, near ? 12 : 24);
		memcpy(code + (at - BASE), out, len);
		/* Rebuilt from its record it gives the same bytes. */
		klp_site_restore(RV, s.layout, s.entry, s.entry + (is_short ? 4 : 8), at, (uint32_t)len, &s);
		ck_assert_uint_eq(s.site, s.entry + (is_short ? 2 : 4));
		ck_assert_int_eq(klp_prefix_encode(RV, &s, slot[i], hop[i], out, &at, &len, &e), 0);
		ck_assert(at == place[i] && !memcmp(code + (at - BASE), out, len));
	}
	disassemble(&d, code, sizeof(code));
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t literal;

		disassembly_is(&d, place[i] + 8, "jr t1");
		if (i < ROUNDS / 2) {
			ck_assert_uint_eq(pair_address(&d, place[i], "t1", "ld"), slot[i]);
			continue;
		}
		ck_assert_uint_eq(pair_address(&d, place[i], "t1", "ld"), place[i] + 16);
		disassembly_is(&d, place[i] + 12, "ebreak");
		memcpy(&literal, code + (place[i] + 16 - BASE), 8);
		ck_assert_uint_eq(literal, hop[i]);
	}
	disassembly_free(&d);
	s = (struct klp_site){.layout = KLP_SITE_RV_NOP, .entry = BASE, .prefix = BASE - 20, .prefix_len = 20};
	ck_assert_int_eq(klp_prefix_encode(RV, &s, BASE + 9 * GIB, BASE, out, &at, &len, &e), -ERANGE);
	ck_assert_int_eq(e.reason, KLP_NO_ROOM);
	s.prefix = BASE - 8;
	ck_assert_int_eq(klp_prefix_encode(RV, &s, BASE, BASE, out, &at, &len, &e), -EINVAL);
	ck_assert_int_eq(e.reason, KLP_PREFIX_TOO_SMALL);
	s = (struct klp_site){.layout = KLP_SITE_RV_CNOP, .entry = BASE, .prefix = BASE - 62, .prefix_len = 62};
	ck_assert_int_eq(klp_prefix_encode(RV, &s, BASE, BASE, out, &at, &len, &e), -EINVAL);
	s = (struct klp_site){.layout = KLP_SITE_A64_NOP, .entry = BASE, .prefix = BASE - 16, .prefix_len = 16};
	ck_assert_int_eq(klp_prefix_encode(RV, &s, BASE, BASE, out, &at, &len, &e), -EINVAL);
}
END_TEST

/* Does the instruction that begins at p change nothing but the program counter, and goes on behind itself? */
static bool is_noop(const uint8_t *p, unsigned *len)
{
	uint32_t v = klp_insn_get32(p), half = v & 0xffff;

	*len = (half & 3) == 3 ? 4 : 2;
	if (*len == 2) /* C.NOP, and with an immediate a HINT: quadrant 1, funct3 0, rd 0 */
		return (half & 3) == 1 && half >> 13 == 0 && (half >> 7 & 31) == 0;
	/* OP-IMM with rd = x0, of the encodings that are no shift: HINTs (ADDI with all zeros: NOP) */
	return (v & 0x7f) == 0x13 && (v >> 7 & 31) == 0 && (v >> 12 & 3) != 1;
}

/* Does binutils say so too? */
static void looks_like_noop(const struct disassembly *d, uint64_t at)
{
	const char *text = disassembly_at(d, at);

	ck_assert_msg(!strncmp(text, "nop", 3) || !strncmp(text, "c.nop", 5) || !strncmp(text, "andi zero,", 10) ||
			  !strncmp(text, "and zero,", 9),
		      "%s", text);
}

/*
 * Every site that can be, over every distance that the encoding has: each state from dormant to armed differs from the
 * one before in one byte, is a HINT, and only the last one is a jump, to the right place. So a hart that fetches the
 * old byte or the new one executes one of two neighbours, and a thread that was preempted before the site or behind it
 * is at an instruction's first byte in all of them.
 */
START_TEST(test_every_state)
{
	struct klp_site_store st[KLP_SITE_MAX_STORES], back[KLP_SITE_MAX_STORES];
	static uint8_t seen[MAX_PREFIX * 4 * 4];
	unsigned states = 0, armed = 0, len;
	struct disassembly d;
	size_t done;

	for (unsigned k = 0; k < 2; k++) {
		enum klp_site_layout layout = k ? KLP_SITE_RV_CNOP : KLP_SITE_RV_NOP;
		unsigned width = k ? 2 : 4;

		for (unsigned before = 2; before <= MAX_PREFIX; before += 2) {
			uint64_t entry = BASE, site = entry + width;
			struct klp_site s = {.layout = layout,
					     .entry = entry,
					     .site = site,
					     .body = site + width,
					     .prefix = entry - before,
					     .prefix_len = before,
					     .jump_target = entry - before};
			uint8_t now[16] = {0}, was[16];
			size_t n = klp_site_arm_stores(RV, &s, st);

			/* c.j: where bit 6 of the distance is 1 there is no such sequence; only one distance is used.
			 */
			if (!n) {
				ck_assert(k ? before != 64 : before + width > MAX_PREFIX);
				continue;
			}
			ck_assert_uint_eq(n, width);
			for (unsigned i = 0; i < 2; i++)
				if (k)
					klp_insn_put16(now + i * 2, KLP_RV_C_NOP);
				else
					klp_insn_put32(now + i * 4, KLP_RV_NOP);
			for (size_t i = 0; i < n; i++) {
				unsigned at = (unsigned)(st[i].addr - entry), changed = 0;

				ck_assert_int_eq(klp_site_state(RV, &s, now, 8, &done),
						 i ? KLP_STATE_PARTIAL : KLP_STATE_DORMANT);
				ck_assert_uint_eq(done, i);
				ck_assert_msg(is_noop(now + width, &len) && len == width, "state %zu of %u", i, before);
				klp_insn_put32(seen + states * 4, KLP_RV_NOP);
				memcpy(seen + states * 4, now + width, width);
				if (width == 2)
					klp_insn_put16(seen + states * 4 + 2, KLP_RV_C_NOP);
				states++;
				ck_assert(st[i].width == 1 && at >= width && at < 2 * width);
				ck_assert_uint_eq(now[at], st[i].expect[0]);
				memcpy(was, now, sizeof(now));
				now[at] = st[i].value[0];
				for (unsigned b = 0; b < sizeof(now); b++)
					changed += now[b] != was[b];
				ck_assert_uint_eq(changed, 1);
			}
			ck_assert_int_eq(klp_site_state(RV, &s, now, 8, &done), KLP_STATE_ARMED);
			ck_assert_uint_eq(done, n);
			ck_assert(!is_noop(now + width, &len) && len == width);
			if (k)
				ck_assert_uint_eq(klp_rv_c_j_rel(klp_insn_get16(now + 2)), entry - before - site);
			else
				ck_assert_uint_eq(klp_rv_jal_rel(klp_insn_get32(now + 4)), entry - before - site);
			armed++;
			/* The way back is the same one. */
			ck_assert_uint_eq(klp_site_disarm_stores(RV, &s, back), n);
			for (size_t i = 0; i < n; i++)
				ck_assert(back[i].addr == st[n - 1 - i].addr &&
					  back[i].expect[0] == st[n - 1 - i].value[0] &&
					  back[i].value[0] == st[n - 1 - i].expect[0]);
			/* Somebody else's bytes. */
			now[width + width - 1] ^= 0x40;
			ck_assert_int_eq(klp_site_state(RV, &s, now, 8, &done), KLP_STATE_FOREIGN);
		}
	}
	ck_assert_uint_gt(armed, 2000);
	disassemble(&d, seen, states * 4);
	for (unsigned i = 0; i < states; i++)
		looks_like_noop(&d, BASE + i * 4);
	disassembly_free(&d);
}
END_TEST

/* Why the other order, and other distances, are no choice: what a thread would execute between. */
START_TEST(test_other_orders)
{
	unsigned harmless = 0, len;

	for (uint64_t rel = -2048ull; rel; rel += 2) {
		uint8_t to[4], low_first[4] = {0, 0, KLP_RV_C_NOP, 0},
			       high_first[4] = {KLP_RV_C_NOP, 0, KLP_RV_C_NOP, 0};

		klp_insn_put16(to, klp_rv_c_j(rel));
		low_first[0] = to[0];
		high_first[1] = to[1];
		ck_assert(!is_noop(high_first, &len));
		ck_assert_int_eq(is_noop(low_first, &len), !(rel & 64));
		harmless += is_noop(low_first, &len);
	}
	ck_assert_uint_eq(harmless, 512);
	/* The opcode first: a jump to anywhere. */
	for (unsigned before = 2; before <= 64; before += 2) {
		uint8_t now[4];

		klp_insn_put32(now, klp_rv_jal(0, -(uint64_t)before));
		now[1] = now[2] = now[3] = 0;
		ck_assert(!is_noop(now, &len));
	}
}
END_TEST

/* m bytes of NOPs, then the instructions of the function. */
struct vector {
	unsigned m;
	bool is_short;   /* the m bytes are c.nop */
	uint32_t before; /* instead of the first of the m, 0: none */
	uint32_t code[2];
	enum klp_site_layout layout;
	enum klp_reason reason;
};
static const struct vector vectors[] = {
    {24, false, 0, {0x13, 0x13}, KLP_SITE_RV_NOP, 0},
    {12, false, 0, {0x13, 0x13}, KLP_SITE_RV_NOP, 0},
    {40, false, 0, {0x13, 0x13}, KLP_SITE_RV_NOP, 0},
    {64, true, 0, {0x00010001, 0x8082}, KLP_SITE_RV_CNOP, 0},
    {80, true, 0, {0x00010001, 0x11411101}, KLP_SITE_RV_CNOP, 0},
    {8, false, 0, {0x13, 0x13}, 0, KLP_PREFIX_TOO_SMALL},
    {0, false, 0, {0x13, 0x13}, 0, KLP_PREFIX_TOO_SMALL},
    {12, true, 0, {0x00010001, 0x8082}, 0, KLP_PREFIX_TOO_SMALL}, /* 8,6 with the C extension */
    {62, true, 0, {0x00010001, 0x8082}, 0, KLP_PREFIX_TOO_SMALL},
    {24, false, 0x8067, {0x13, 0x13}, 0, KLP_PREFIX_TOO_SMALL},
    {24, false, 0, {0x13, 0x8067}, 0, KLP_SITE_UNKNOWN}, /* one NOP: a uprobe would undo it */
    {64, true, 0, {0x80820001, 0x8082}, 0, KLP_SITE_UNKNOWN},
    {64, true, 0, {0x00130001, 0}, 0, KLP_SITE_UNKNOWN}, /* c.nop, nop */
    {24, false, 0, {0x17, 0x13}, 0, KLP_SITE_UNKNOWN},   /* lpad */
    {24, false, 0, {0x5017, 0x13}, 0, KLP_SITE_UNKNOWN}, /* lpad with a label */
    {24, false, 0, {0x93, 0x13}, 0, KLP_SITE_UNKNOWN},   /* li ra, 0 */
    {24, false, 0, {0x100073, 0x13}, 0, KLP_SITE_UNKNOWN},
};

START_TEST(test_vectors)
{
	const struct vector *v = &vectors[_i];
	struct klp_site_store st[KLP_SITE_MAX_STORES];
	struct klp_error e = KLP_ERROR_INIT;
	uint64_t entry = BASE + v->m;
	uint8_t code[128] = {0}, *b = code + v->m, probed[16];
	unsigned width = v->layout == KLP_SITE_RV_CNOP ? 2 : 4;
	struct klp_site s, kept;
	size_t done;

	for (unsigned i = 0; i < v->m; i += v->is_short ? 2 : 4)
		if (v->is_short)
			klp_insn_put16(code + i, KLP_RV_C_NOP);
		else
			klp_insn_put32(code + i, i || !v->before ? KLP_RV_NOP : v->before);
	for (unsigned i = 0; i < 2; i++)
		klp_insn_put32(b + i * 4, v->code[i]);
	if (v->reason) {
		ck_assert_int_eq(klp_site_decode(RV, entry, BASE, code, BASE, v->m + 8, &s, &e), -EINVAL);
		ck_assert_msg(e.reason == v->reason, "vector %d: %s", _i, e.text);
		return;
	}
	ck_assert_msg(!klp_site_decode(RV, entry, BASE, code, BASE, v->m + 8, &s, &e), "%s", e.text);
	ck_assert_int_eq(s.layout, v->layout);
	ck_assert(s.entry == entry && s.site == entry + width && s.body == entry + 2 * width);
	ck_assert(s.jump_target == entry - (width == 4 ? 12 : 64));
	ck_assert(s.prefix == BASE && s.prefix_len == v->m && !s.weak_to_uprobe);
	klp_site_restore(RV, s.layout, s.entry, s.body, s.jump_target, 12, &kept);
	ck_assert(kept.site == s.site && !kept.weak_to_uprobe);
	ck_assert_uint_eq(klp_site_arm_stores(RV, &kept, st), width);

	/* A probe at the symbol executes what stood there and goes on at the site: c.ebreak wherever the kernel has the
	 * C extension, ebreak where it has not. */
	for (unsigned k = 0; k < 2; k++) {
		memcpy(probed, b, sizeof(probed));
		klp_insn_put16(probed, KLP_RV_C_EBREAK);
		if (k && width == 4)
			klp_insn_put32(probed, KLP_RV_EBREAK);
		ck_assert_int_eq(klp_site_state(RV, &s, probed, 8, &done), KLP_STATE_DORMANT);
		memcpy(b, probed, 4);
		ck_assert(klp_site_hide_probe(RV, code, sizeof(code), v->m));
		ck_assert_uint_eq(klp_insn_get32(b), v->code[0]);
		ck_assert(!klp_site_hide_probe(RV, code, sizeof(code), v->m));
	}
	/* One at the site is not ours. */
	memcpy(probed, b, sizeof(probed));
	klp_insn_put16(probed + width, KLP_RV_C_EBREAK);
	ck_assert_int_eq(klp_site_state(RV, &s, probed, 8, &done), KLP_STATE_FOREIGN);
	ck_assert_int_eq(klp_site_state(RV, &s, b, 2 * width - 1, &done), KLP_STATE_FOREIGN);
	klp_insn_put16(b, 0x8082);
	ck_assert_int_eq(klp_site_state(RV, &s, b, 8, &done), KLP_STATE_FOREIGN);
	/* Half an instruction away there is none. */
	ck_assert_int_eq(klp_site_decode(RV, entry + 1, BASE, code, BASE, v->m + 8, &s, &e), -EINVAL);
	ck_assert_int_eq(e.reason, KLP_SITE_MISALIGNED);
}
END_TEST

/* Random instructions at the end of the heap: an answer, never a read outside. */
START_TEST(test_random_bytes)
{
	static const uint32_t common[] = {0x13,   0x13,   0x13,   0x00010001, 0x00010001,
					  0x9002, 0x8082, 0x8067, 0x17,       0x9002};
	unsigned good = 0;

	for (unsigned round = 0; round < 300000; round++) {
		size_t len = (size_t)(random() % 100 + 1);
		uint8_t *code = malloc(len);
		uint32_t nop = random() % 2 ? KLP_RV_NOP : 0x00010001;
		struct klp_error e = KLP_ERROR_INIT;
		struct klp_site s;

		for (size_t i = 0; i < len; i++)
			code[i] = (uint8_t)(common[(size_t)random() % 10] >> (i % 4 * 8));
		for (size_t i = 0; i + 4 <= len && random() % 64; i += 4)
			klp_insn_put32(code + i, random() % 32 ? nop : common[(size_t)random() % 10]);
		if (!klp_site_decode(RV, BASE + (uint64_t)(random() % 50) * 2, BASE, code, BASE, len, &s, &e)) {
			good++;
			ck_assert(s.jump_target >= s.prefix && s.body <= BASE + len);
		}
		klp_site_hide_probe(RV, code, len, (size_t)random() % 100);
		free(code);
	}
	ck_assert_uint_gt(good, 1000);
}
END_TEST

int main(int argc, char **argv)
{
	TCase *tc = tcase_create("site");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_instructions);
	tcase_add_test(tc, test_branches);
	tcase_add_test(tc, test_stub);
	tcase_add_test(tc, test_prefix);
	tcase_add_test(tc, test_every_state);
	tcase_add_test(tc, test_other_orders);
	tcase_add_loop_test(tc, test_vectors, 0, sizeof(vectors) / sizeof(vectors[0]));
	tcase_add_test(tc, test_random_bytes);
	return sites_main("riscv64", tc, argc, argv);
}
