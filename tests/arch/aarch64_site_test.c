/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patch sites, PLT entries and stubs of aarch64, on any host: against the disassembly of binutils, over the whole range
 * of their operands, on made-up bytes, and (FILE LAYOUT as arguments) on programs that a cross compiler has made.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disassembly.h"
#include "klp/runtime/rt.h"
#include "patchsite/patchsite.h"
#include "plt/arch/aarch64/encode.h"
#include "plt/plt.h"
#include "sites.h"

#define A64 EM_AARCH64
#define BASE 0xaaaab1230000ull
#define ROUNDS 400u

static const uint32_t nop = 0xd503201f, bti_c = 0xd503245f, bti_j = 0xd503249f, bti_jc = 0xd50324df,
		      paciasp = 0xd503233f, brk = 0xd42000a0, ret = 0xd65f03c0;

static void disassemble(struct disassembly *d, const uint8_t *code, size_t len)
{
	disassembly_make(d, KLP_TEST_OBJDUMP, "aarch64", code, len, BASE);
}

START_TEST(test_instructions)
{
	static uint8_t code[ROUNDS * 20];
	static uint64_t to[ROUNDS][5];
	struct disassembly d;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t at = BASE + i * 20;
		uint8_t *p = code + i * 20;

		to[i][0] = at + within(i, 128 * MIB, 4);
		to[i][1] = at + 4 + within(i, MIB, 4);
		to[i][2] = at + 8 + within(i, MIB, 1);
		to[i][3] = ((at + 12) & ~4095ull) + within(i, 4 * GIB, 4096);
		to[i][4] = (wide_random() & ~4095ull) + (i % 512) * 8;
		ck_assert(klp_a64_put_b(p, at, to[i][0]));
		ck_assert(klp_a64_put_ldr_literal(p + 4, i % 31, at + 4, to[i][1]));
		ck_assert(klp_a64_put_adr(p + 8, i % 31, at + 8, to[i][2]));
		ck_assert(klp_a64_put_adrp(p + 12, i % 31, at + 12, to[i][3] + i % 4096));
		ck_assert(klp_a64_put_ldr_low(p + 16, i % 31, (i + 5) % 31, to[i][4]));
	}
	disassemble(&d, code, sizeof(code));
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t at = BASE + i * 20;

		disassembly_is(&d, at, "b 0x%llx", (unsigned long long)to[i][0]);
		disassembly_is(&d, at + 4, "ldr x%u, 0x%llx", i % 31, (unsigned long long)to[i][1]);
		disassembly_is(&d, at + 8, "adr x%u, 0x%llx", i % 31, (unsigned long long)to[i][2]);
		disassembly_is(&d, at + 12, "adrp x%u, 0x%llx", i % 31, (unsigned long long)to[i][3]);
		if (i % 512)
			disassembly_is(&d, at + 16, "ldr x%u, [x%u, #%u]", i % 31, (i + 5) % 31, i % 512 * 8);
		else
			disassembly_is(&d, at + 16, "ldr x%u, [x%u]", i % 31, (i + 5) % 31);
	}
	disassembly_free(&d);
	/* One step out of reach, and not where an instruction can be. */
	ck_assert(!klp_a64_put_b(code, BASE, BASE + 128 * MIB) && !klp_a64_put_b(code, BASE, BASE - 128 * MIB - 4));
	ck_assert(!klp_a64_put_b(code, BASE, BASE + 2));
	ck_assert(!klp_a64_put_ldr_literal(code, 0, BASE, BASE + MIB));
	ck_assert(!klp_a64_put_ldr_literal(code, 0, BASE, BASE - MIB - 4));
	ck_assert(!klp_a64_put_ldr_literal(code, 0, BASE, BASE + 1));
	ck_assert(!klp_a64_put_adr(code, 0, BASE, BASE + MIB) && !klp_a64_put_adr(code, 0, BASE, BASE - MIB - 1));
	ck_assert(!klp_a64_put_adrp(code, 0, BASE + 4092, BASE + 4 * GIB));
	ck_assert(!klp_a64_put_adrp(code, 0, BASE + 4092, BASE - 4 * GIB - 1));
	ck_assert(!klp_a64_put_ldr_low(code, 0, 0, BASE + 4));
}
END_TEST

START_TEST(test_stub)
{
	static uint8_t code[ROUNDS * KLP_STUB_SIZE];
	static uint64_t record[ROUNDS], word[ROUNDS], body[ROUNDS];
	struct klp_error e = KLP_ERROR_INIT;
	struct disassembly d;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t at = BASE + i * KLP_STUB_SIZE;

		record[i] = at + 36 + within(i, MIB - 64, 8);
		word[i] = at + 12 + within(i, MIB, 8);
		body[i] = at + 52 + within(i, 128 * MIB, 4);
		ck_assert_int_eq(
		    klp_stub_encode(A64, at, record[i], word[i], body[i], code + i * KLP_STUB_SIZE, KLP_STUB_SIZE, &e),
		    0);
		ck_assert_uint_eq(klp_stub_original(A64, at, body[i]), at + 48);
	}
	disassemble(&d, code, sizeof(code));
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t at = BASE + i * KLP_STUB_SIZE;

		disassembly_is(&d, at, "bti c");
		disassembly_is(&d, at + 4, "mov x9, x30");
		disassembly_is(&d, at + 8, "adr x17, 0x%llx", (unsigned long long)record[i]);
		disassembly_is(&d, at + 12, "ldr x16, 0x%llx", (unsigned long long)word[i]);
		disassembly_is(&d, at + 16, "blr x16");
		disassembly_is(&d, at + 20, "mov x30, x9");
		disassembly_is(&d, at + 24, "br x16");
		disassembly_is(&d, at + 28, "brk #0x0");
		disassembly_is(&d, at + KLP_HOP_OFFSET, "bti c");
		disassembly_is(&d, at + KLP_HOP_OFFSET + 4, "ldr x16, 0x%llx", (unsigned long long)record[i]);
		disassembly_is(&d, at + KLP_HOP_OFFSET + 8, "br x16");
		disassembly_is(&d, at + 48, "bti c");
		disassembly_is(&d, at + 52, "b 0x%llx", (unsigned long long)body[i]);
		disassembly_is(&d, at + 60, "brk #0x0");
	}
	disassembly_free(&d);
	ck_assert_int_eq(klp_stub_encode(A64, BASE, BASE + MIB + 8, BASE, BASE, code, KLP_STUB_SIZE, &e), -ERANGE);
	ck_assert_int_eq(e.reason, KLP_NO_ROOM);
	ck_assert_int_eq(klp_stub_encode(A64, BASE, BASE, BASE - MIB, BASE, code, KLP_STUB_SIZE, &e), -ERANGE);
	ck_assert_int_eq(klp_stub_encode(A64, BASE, BASE, BASE, BASE - 128 * MIB, code, KLP_STUB_SIZE, &e), -ERANGE);
	ck_assert_int_eq(klp_stub_encode(A64, BASE, BASE, BASE, BASE, code, KLP_STUB_SIZE - 1, &e), -EINVAL);
}
END_TEST

START_TEST(test_prefix)
{
	static uint8_t code[ROUNDS * 32];
	static uint64_t slot[ROUNDS], hop[ROUNDS];
	struct klp_error e = KLP_ERROR_INIT;
	uint8_t out[KLP_PREFIX_MAX];
	struct klp_site s = {0};
	struct disassembly d;
	uint64_t at;
	size_t len;

	for (unsigned i = 0; i < ROUNDS; i++) {
		bool near = i < ROUNDS / 2;

		s = (struct klp_site){.layout = i % 2 ? KLP_SITE_A64_NOP : KLP_SITE_A64_BTI,
				      .entry = BASE + i * 32 + 16,
				      .prefix = BASE + i * 32 + (near && i % 3 == 0 ? 4 : 0)};
		s.prefix_len = (uint32_t)(s.entry - s.prefix);
		slot[i] = ((s.entry - 12) & ~4095ull) + within(i, 4 * GIB, 8);
		if (!near)
			slot[i] += 9 * GIB;
		hop[i] = wide_random();
		ck_assert_int_eq(klp_prefix_encode(A64, &s, slot[i], hop[i], out, &at, &len, &e), 0);
		ck_assert_uint_eq(at, s.entry - (near ? 12 : 16));
		ck_assert_uint_eq(len, near ? 12 : 16);
		memcpy(code + (at - BASE), out, len);
		/* Rebuilt from its record it gives the same bytes. */
		klp_site_restore(A64, s.layout, s.entry, s.entry + 8, at, (uint32_t)len, &s);
		ck_assert_int_eq(klp_prefix_encode(A64, &s, slot[i], hop[i], out, &at, &len, &e), 0);
		ck_assert(at == s.prefix && len == s.prefix_len && !memcmp(code + (at - BASE), out, len));
	}
	disassemble(&d, code, sizeof(code));
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t entry = BASE + i * 32 + 16, literal;
		char low[32];

		if (i < ROUNDS / 2) {
			snprintf(low, sizeof(low), slot[i] & 4095 ? ", #%u]" : "]", (unsigned)(slot[i] & 4095));
			disassembly_is(&d, entry - 12, "adrp x16, 0x%llx", (unsigned long long)slot[i] & ~4095ull);
			disassembly_is(&d, entry - 8, "ldr x16, [x16%s", low);
			disassembly_is(&d, entry - 4, "br x16");
		} else {
			disassembly_is(&d, entry - 16, "ldr x16, 0x%llx", (unsigned long long)entry - 8);
			disassembly_is(&d, entry - 12, "br x16");
			memcpy(&literal, code + (entry - 8 - BASE), 8);
			ck_assert_uint_eq(literal, hop[i]);
		}
	}
	disassembly_free(&d);
	s = (struct klp_site){.layout = KLP_SITE_A64_NOP, .entry = BASE, .prefix = BASE - 12, .prefix_len = 12};
	ck_assert_int_eq(klp_prefix_encode(A64, &s, BASE + 9 * GIB, BASE, out, &at, &len, &e), -ERANGE);
	ck_assert_int_eq(e.reason, KLP_NO_ROOM);
	s.prefix = BASE - 8;
	ck_assert_int_eq(klp_prefix_encode(A64, &s, BASE, BASE, out, &at, &len, &e), -EINVAL);
	ck_assert_int_eq(e.reason, KLP_PREFIX_TOO_SMALL);
	s = (struct klp_site){.layout = KLP_SITE_X86_ENTRY1, .entry = BASE, .prefix = BASE - 16, .prefix_len = 16};
	ck_assert_int_eq(klp_prefix_encode(A64, &s, BASE, BASE, out, &at, &len, &e), -EINVAL);
}
END_TEST

/* m NOPs, then the instructions of the function. */
struct vector {
	unsigned m;
	uint32_t before; /* instead of the first of the m, 0: none */
	uint32_t code[3];
	enum klp_site_layout layout;
	enum klp_reason reason;
};
static struct vector vectors[] = {
    {4, 0, {0xd503201f, 0xd503201f, 0xd65f03c0}, KLP_SITE_A64_NOP, 0},
    {3, 0, {0xd503201f, 0xd503201f, 0xd503233f}, KLP_SITE_A64_NOP, 0},
    {4, 0, {0xd503245f, 0xd503201f, 0xd503201f}, KLP_SITE_A64_BTI, 0},
    {3, 0, {0xd50324df, 0xd503201f, 0xd65f03c0}, KLP_SITE_A64_BTI, 0},
    {2, 0, {0xd503201f, 0xd503201f, 0xd65f03c0}, 0, KLP_PREFIX_TOO_SMALL},
    {0, 0, {0xd503201f, 0xd503201f, 0xd65f03c0}, 0, KLP_PREFIX_TOO_SMALL},
    {4, 0xd65f03c0, {0xd503201f, 0xd503201f, 0xd65f03c0}, 0, KLP_PREFIX_TOO_SMALL},
    {4, 0, {0xd503201f, 0xd65f03c0, 0}, 0, KLP_SITE_UNKNOWN},          /* one NOP: a uprobe would undo it */
    {4, 0, {0xd503233f, 0xd503201f, 0xd503201f}, 0, KLP_SITE_UNKNOWN}, /* paciasp: signed twice */
    {4, 0, {0xd503249f, 0xd503201f, 0xd503201f}, 0, KLP_SITE_UNKNOWN}, /* bti j: no landing pad of a call */
    {4, 0, {0xd503245f, 0xd503233f, 0xd503201f}, 0, KLP_SITE_UNKNOWN},
    {4, 0, {0xd42000a0, 0xd503201f, 0xd503201f}, 0, KLP_SITE_UNKNOWN},
};

static void put(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
}

START_TEST(test_vectors)
{
	const struct vector *v = &vectors[_i];
	struct klp_site_store st[KLP_SITE_MAX_STORES], back[KLP_SITE_MAX_STORES];
	struct klp_error e = KLP_ERROR_INIT;
	struct disassembly d;
	struct klp_site s, kept;
	uint64_t entry = BASE + v->m * 4;
	uint8_t code[64], *b = code + v->m * 4;
	size_t done;

	for (unsigned i = 0; i < v->m; i++)
		put(code + i * 4, i || !v->before ? nop : v->before);
	for (unsigned i = 0; i < 3; i++)
		put(b + i * 4, v->code[i]);
	if (v->reason) {
		ck_assert_int_eq(klp_site_decode(A64, entry, BASE, code, BASE, v->m * 4 + 12, &s, &e), -EINVAL);
		ck_assert_msg(e.reason == v->reason, "vector %d: %s", _i, e.text);
		return;
	}
	ck_assert_msg(!klp_site_decode(A64, entry, BASE, code, BASE, v->m * 4 + 12, &s, &e), "%s", e.text);
	ck_assert_int_eq(s.layout, v->layout);
	ck_assert(s.entry == entry && s.site == entry + 4 && s.body == entry + 8 && s.jump_target == entry - 12);
	ck_assert(s.prefix == BASE && s.prefix_len == v->m * 4 && !s.weak_to_uprobe);

	/* One store of four aligned bytes that are a NOP and a direct branch to the PLT entry: nothing between. */
	ck_assert_int_eq(klp_site_state(A64, &s, b, 8, &done), KLP_STATE_DORMANT);
	ck_assert_uint_eq(klp_site_arm_stores(A64, &s, st), 1);
	ck_assert(st[0].addr == entry + 4 && st[0].addr % 4 == 0 && st[0].width == 4);
	ck_assert_mem_eq(b + 4, st[0].expect, 4);
	memcpy(b + 4, st[0].value, 4);
	disassembly_make(&d, KLP_TEST_OBJDUMP, "aarch64", code, v->m * 4 + 12, BASE);
	disassembly_is(&d, entry + 4, "b 0x%llx", (unsigned long long)entry - 12);
	disassembly_free(&d);
	ck_assert_int_eq(klp_site_state(A64, &s, b, 8, &done), KLP_STATE_ARMED);
	ck_assert_uint_eq(done, 1);
	klp_site_restore(A64, s.layout, s.entry, s.body, s.jump_target, 12, &kept);
	ck_assert_uint_eq(klp_site_disarm_stores(A64, &kept, back), 1);
	ck_assert(back[0].addr == st[0].addr && back[0].width == 4);
	ck_assert_mem_eq(back[0].expect, st[0].value, 4);
	ck_assert_mem_eq(back[0].value, st[0].expect, 4);

	/* A probe at the symbol executes what stood there and goes on at the site. */
	put(b, brk);
	ck_assert_int_eq(klp_site_state(A64, &s, b, 8, &done), KLP_STATE_ARMED);
	ck_assert(klp_site_hide_probe(A64, code, sizeof(code), (size_t)(b - code)));
	ck_assert_mem_eq(b, &nop, 4);
	ck_assert(!klp_site_hide_probe(A64, code, sizeof(code), (size_t)(b - code)));
	put(b, v->layout == KLP_SITE_A64_BTI ? nop : bti_c);
	ck_assert_int_eq(klp_site_state(A64, &s, b, 8, &done), KLP_STATE_FOREIGN);
	put(b, v->code[0]);
	put(b + 4, brk);
	ck_assert_int_eq(klp_site_state(A64, &s, b, 8, &done), KLP_STATE_FOREIGN);
	ck_assert_int_eq(klp_site_state(A64, &s, b, 7, &done), KLP_STATE_FOREIGN);
	put(b + 4, nop);
	/* Half an instruction away there is none. */
	ck_assert_int_eq(klp_site_decode(A64, entry + 2, BASE, code, BASE, v->m * 4 + 12, &s, &e), -EINVAL);
	ck_assert_int_eq(e.reason, KLP_SITE_MISALIGNED);
}
END_TEST

/* Random instructions at the end of the heap: an answer, never a read outside. */
START_TEST(test_random_bytes)
{
	unsigned good = 0;

	for (unsigned round = 0; round < 200000; round++) {
		const uint32_t common[] = {nop, nop, nop, nop, nop, bti_c, bti_j, bti_jc, paciasp, brk, ret};
		size_t len = (size_t)(random() % 40 + 1);
		uint8_t *code = malloc(len);
		struct klp_error e = KLP_ERROR_INIT;
		struct klp_site s;

		for (size_t i = 0; i < len; i++)
			code[i] = (uint8_t)(common[(size_t)random() % 11] >> (i % 4 * 8));
		for (size_t i = 0; i + 4 <= len && random() % 8; i += 4)
			put(code + i, random() % 2 ? nop : common[(size_t)random() % 11]);
		if (!klp_site_decode(A64, BASE + (uint64_t)(random() % 11) * 4, BASE, code, BASE, len, &s, &e)) {
			good++;
			ck_assert(s.jump_target >= s.prefix && s.body <= BASE + len);
		}
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
	tcase_add_test(tc, test_stub);
	tcase_add_test(tc, test_prefix);
	tcase_add_loop_test(tc, test_vectors, 0, sizeof(vectors) / sizeof(vectors[0]));
	tcase_add_test(tc, test_random_bytes);
	return sites_main("aarch64", tc, argc, argv);
}
