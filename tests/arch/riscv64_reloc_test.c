/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relocations of riscv64, on any host: what is stored is what binutils disassembles, to both ends of each reach and
 * between, and one step further it is refused; pairs of additions and subtractions; names of all that is refused.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disassembly.h"
#include "klp/reloc.h"
#include "patchsite/insn.h"
#include "sites.h"

#define BASE 0x2aab1230000ull
#define PLACE (BASE + 0x6b4) /* with low bits of its own */
#define ROUNDS 200u
#define EDGE 2048u

static const struct klp_reloc_info *of(uint32_t type)
{
	const struct klp_reloc_info *i = klp_reloc_find(type);

	ck_assert_ptr_nonnull(i);
	return i;
}

/* Jumps of one instruction: with an opcode that the relocation must leave alone, and other bits set, which it must not.
 */
static const struct {
	uint32_t type, insn;
	unsigned len;
	uint64_t reach;
	bool branch; /* it may be a call or a tail call */
} jumps[] = {
    {R_RISCV_JAL, 0xfffff0efu, 4, MIB, true},      /* jal ra */
    {R_RISCV_BRANCH, 0xfeb51fe3u, 4, 4096, false}, /* bne a0, a1 */
    {R_RISCV_RVC_JUMP, 0xbffdu, 2, 2048, true},    /* c.j */
    {R_RISCV_RVC_BRANCH, 0xfd7du, 2, 256, false},  /* c.bnez a0 */
};

START_TEST(test_jumps)
{
	const struct klp_reloc_info *info = of(jumps[_i].type);
	static uint8_t code[ROUNDS * 4];
	uint64_t to[ROUNDS];
	struct disassembly d;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t at = BASE + i * 4;

		klp_insn_put16(code + i * 4 + 2, 1);
		if (jumps[_i].len == 4)
			klp_insn_put32(code + i * 4, jumps[_i].insn);
		else
			klp_insn_put16(code + i * 4, jumps[_i].insn);
		ck_assert_int_eq(klp_reloc_is_branch(info, code, sizeof(code), i * 4, 0), jumps[_i].branch);
		ck_assert(!klp_reloc_is_branch(info, code, sizeof(code), i * 4, 4));
		to[i] = at + within(i, jumps[_i].reach, 2);
		ck_assert_int_eq(klp_reloc_store(info, code + i * 4, at, to[i] - 6, 6), 0);
	}
	disassembly_make(&d, KLP_TEST_OBJDUMP, "riscv:rv64", code, sizeof(code), BASE);
	for (unsigned i = 0; i < ROUNDS; i++) {
		const char *text = disassembly_at(&d, BASE + i * 4), *operand = strrchr(text, ',');

		operand = operand ? operand : strchr(text, ' ');
		ck_assert_msg(operand && strtoull(operand + 1, NULL, 16) == to[i], "%s, not %llx", text,
			      (unsigned long long)to[i]);
	}
	disassembly_free(&d);
	ck_assert_int_eq(klp_reloc_store(info, code, BASE, BASE + jumps[_i].reach, 0), -ERANGE);
	ck_assert_int_eq(klp_reloc_store(info, code, BASE, BASE - jumps[_i].reach - 2, 0), -ERANGE);
	ck_assert_int_eq(klp_reloc_store(info, code, BASE, BASE + 1, 0), -ERANGE);
}
END_TEST

/* auipc and what is behind it: a call, a load, a store; the latter two know their place by their pair's. */
START_TEST(test_pairs)
{
	const struct klp_reloc_info *call = of(R_RISCV_CALL_PLT), *high = of(R_RISCV_PCREL_HI20),
				    *load = of(R_RISCV_PCREL_LO12_I), *store = of(R_RISCV_PCREL_LO12_S);

	ck_assert(klp_reloc_is_high(high) && !klp_reloc_is_high(load) && !klp_reloc_is_high(call));
	ck_assert(klp_reloc_is_high(of(R_RISCV_GOT_HI20)) && klp_reloc_is_high(of(R_RISCV_TLS_GD_HI20)));
	for (unsigned i = 0; i < 20 * ROUNDS; i++) {
		uint64_t to = PLACE + within(i, 2 * GIB, 1) - EDGE;
		uint32_t first, second;
		uint8_t code[16];

		klp_insn_put32(code, 0xfffff097u);     /* auipc ra */
		klp_insn_put32(code + 4, 0xfff080e7u); /* jalr ra, (ra) */
		ck_assert(klp_reloc_is_branch(call, code, 8, 0, 0) && !klp_reloc_is_branch(call, code, 7, 0, 0));
		ck_assert_int_eq(klp_reloc_store(call, code, PLACE, to, 0), 0);
		first = klp_insn_get32(code);
		second = klp_insn_get32(code + 4);
		ck_assert((first & 0xfff) == 0x097 && (second & 0xfffff) == 0x080e7);
		ck_assert_uint_eq(PLACE + (uint64_t)((int64_t)(int32_t)(first & 0xfffff000u) + ((int32_t)second >> 20)),
				  to);
		klp_insn_put32(code, 0x00000517u);     /* auipc a0 */
		klp_insn_put32(code + 4, 0xfff53503u); /* ld a0, (a0) */
		klp_insn_put32(code + 8, 0xfeb53fa3u); /* sd a1, (a0) */
		ck_assert_int_eq(klp_reloc_store(high, code, PLACE, to, 0), 0);
		ck_assert_int_eq(klp_reloc_store(load, code + 4, PLACE, to - 5, 5), 0);
		ck_assert_int_eq(klp_reloc_store(store, code + 8, PLACE, to, 0), 0);
		ck_assert_uint_eq(klp_insn_get32(code) & 0xfffff000u, first & 0xfffff000u);
		ck_assert_uint_eq(klp_insn_get32(code + 4), (second & 0xfff00000u) | 0x53503u);
		ck_assert_uint_eq(klp_insn_get32(code + 8),
				  (second >> 25) << 25 | (second >> 20 & 31) << 7 | 0xb53023u);
	}
	for (unsigned k = 0; k < 2; k++) {
		uint8_t code[8] = {0};

		ck_assert_int_eq(klp_reloc_store(k ? call : high, code, PLACE, PLACE + 2 * GIB - EDGE, 0), -ERANGE);
		ck_assert_int_eq(klp_reloc_store(k ? call : high, code, PLACE, PLACE - 2 * GIB - EDGE - 1, 0), -ERANGE);
	}
}
END_TEST

/* Absolute halves: lui and what is behind it. */
START_TEST(test_absolute)
{
	for (unsigned i = 0; i < 20 * ROUNDS; i++) {
		uint64_t v = within(i, 2 * GIB, 1) - EDGE;
		uint8_t code[8];

		klp_insn_put32(code, 0x00000537u);     /* lui a0 */
		klp_insn_put32(code + 4, 0x00050513u); /* addi a0, a0 */
		ck_assert_int_eq(klp_reloc_store(of(R_RISCV_HI20), code, BASE, v, 0), 0);
		ck_assert_int_eq(klp_reloc_store(of(R_RISCV_LO12_I), code + 4, BASE, v, 0), 0);
		ck_assert_uint_eq((uint64_t)((int64_t)(int32_t)(klp_insn_get32(code) & 0xfffff000u) +
					     ((int32_t)klp_insn_get32(code + 4) >> 20)),
				  v);
	}
	ck_assert_int_eq(klp_reloc_store(of(R_RISCV_HI20), (uint8_t[4]){0x37}, 0, 2 * GIB, 0), -ERANGE);
}
END_TEST

/* A difference is an addition and a subtraction, or what is set and a subtraction, of the same place. */
START_TEST(test_differences)
{
	static const struct {
		uint32_t first, second;
		unsigned len;
	} pair[] = {{R_RISCV_ADD8, R_RISCV_SUB8, 1},   {R_RISCV_ADD16, R_RISCV_SUB16, 2},
		    {R_RISCV_ADD32, R_RISCV_SUB32, 4}, {R_RISCV_ADD64, R_RISCV_SUB64, 8},
		    {R_RISCV_SET8, R_RISCV_SUB8, 1},   {R_RISCV_SET16, R_RISCV_SUB16, 2},
		    {R_RISCV_SET32, R_RISCV_SUB32, 4}};

	for (unsigned k = 0; k < sizeof(pair) / sizeof(pair[0]); k++) {
		uint8_t field[10] = {0, 0, 0, 0, 0, 0, 0, 0, 0x5a, 0xa5}, *p = field;
		uint64_t got = 0;

		memset(p + pair[k].len, 0x77, 8 - pair[k].len);
		ck_assert_int_eq(klp_reloc_store(of(pair[k].first), p, 0, BASE + 100, 3), 0);
		ck_assert_int_eq(klp_reloc_store(of(pair[k].second), p, 0, BASE + 2, 1), 0);
		memcpy(&got, p, pair[k].len);
		ck_assert_uint_eq(got, 100);
		for (unsigned i = pair[k].len; i < 8; i++)
			ck_assert_uint_eq(p[i], 0x77);
	}
	/* DW_CFA_advance_loc keeps its opcode. */
	for (unsigned n = 0; n < 64; n++) {
		uint8_t b = 0x40;

		ck_assert_int_eq(klp_reloc_store(of(R_RISCV_SET6), &b, 0, BASE + n, 0), 0);
		ck_assert_int_eq(klp_reloc_store(of(R_RISCV_SUB6), &b, 0, BASE, 0), 0);
		ck_assert_uint_eq(b, 0x40 | n);
	}
	ck_assert_int_eq(klp_reloc_store(of(R_RISCV_32_PCREL), (uint8_t[4]){0}, BASE, BASE + 2 * GIB, 0), -ERANGE);
}
END_TEST

/* Every number has a name, and what is not known has none. */
START_TEST(test_names)
{
	unsigned refused = 0;

	for (uint32_t type = 0; type < 66; type++) {
		const struct klp_reloc_info *i = klp_reloc_find(type);

		/* 6, 8, 10: of 32-bit programs; 13 to 15, 42, 49 to 51 ...: nobody's or the linker's own */
		if (i && i->class == KLP_REL_REFUSED) {
			ck_assert(!strncmp(i->name, "R_RISCV_", 8) && i->type == type);
			refused++;
		}
	}
	ck_assert_uint_gt(refused, 15);
	ck_assert_ptr_null(klp_reloc_find(250));
	ck_assert_int_eq(of(R_RISCV_RELAX)->class, KLP_REL_NONE);
	ck_assert_int_eq(of(R_RISCV_ALIGN)->class, KLP_REL_ALIGN);
	ck_assert_int_eq(of(R_RISCV_PCREL_LO12_S)->class, KLP_REL_PAIRED);
}
END_TEST

int main(int argc, char **argv)
{
	TCase *tc = tcase_create("reloc");

	(void)argc;
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_jumps, 0, sizeof(jumps) / sizeof(jumps[0]));
	tcase_add_test(tc, test_pairs);
	tcase_add_test(tc, test_absolute);
	tcase_add_test(tc, test_differences);
	tcase_add_test(tc, test_names);
	return sites_main("riscv64 relocations", tc, 1, argv);
}
