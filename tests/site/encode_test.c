/* SPDX-License-Identifier: Apache-2.0 */
/* PLT entries and stubs against the disassembly of objdump, over random operands; near memory on made-up and on real
 * maps. */
#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "harness.h"
#include "tests/scratch.h"

#define ROUNDS 300
#define BASE 0x123456780000ull

static uint64_t random_near(uint64_t from)
{
	uint64_t r = ((uint64_t)random() << 31 | (uint64_t)random()) % 0xf0000000ull;

	return from - 0x78000000ull + r;
}

static FILE *disassemble(const uint8_t *code, size_t len)
{
	char *path = scratch_name("encode"), cmd[256 + PATH_MAX];
	int fd = mkstemp(path);
	FILE *f;
	char *out = NULL;
	size_t n = 0, got;
	char buf[4096];
	FILE *mem = open_memstream(&out, &n);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, code, len), (ssize_t)len);
	close(fd);
	snprintf(cmd, sizeof(cmd), "objdump -D -b binary -m i386:x86-64 --no-show-raw-insn --adjust-vma=0x%llx %s",
		 BASE, path);
	f = popen(cmd, "r");
	ck_assert_ptr_nonnull(f);
	while ((got = fread(buf, 1, sizeof(buf), f)) > 0)
		fwrite(buf, 1, got, mem);
	ck_assert_int_eq(pclose(f), 0);
	unlink(path);
	free(path);
	fclose(mem);
	return fmemopen(out, n, "r");
}

/* The instruction at addr, blanks squeezed; false: objdump has none there. */
static bool instruction(FILE *f, uint64_t addr, char *text, size_t len)
{
	char line[512];

	rewind(f);
	while (fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':'), *p = text;

		if (line[0] != ' ' || !colon || strtoull(line, NULL, 16) != addr)
			continue;
		for (const char *s = colon + 1; *s && *s != '\n' && (size_t)(p - text) < len - 1; s++)
			if (*s != ' ' && *s != '\t')
				*p++ = *s;
			else if (p != text && p[-1] != ' ')
				*p++ = ' ';
		while (p != text && p[-1] == ' ')
			p--;
		*p = 0;
		return true;
	}
	return false;
}

/* text is `mnemonic ... 0xTARGET`, with the target as objdump's comment or operand. */
static void check_insn(FILE *f, uint64_t addr, const char *mnemonic, const char *operand, uint64_t target)
{
	char text[256], want[32];

	ck_assert_msg(instruction(f, addr, text, sizeof(text)), "no instruction at 0x%llx", (unsigned long long)addr);
	snprintf(want, sizeof(want), "0x%llx", (unsigned long long)target);
	ck_assert_msg(!strncmp(text, mnemonic, strlen(mnemonic)) && strstr(text, operand) &&
			  !strcmp(text + strlen(text) - strlen(want), want),
		      "%s: not %s to %s", text, mnemonic, want);
}

START_TEST(test_stub)
{
	static uint8_t code[ROUNDS * KLP_STUB_SIZE];
	static uint64_t record[ROUNDS], word[ROUNDS];
	struct klp_error e = KLP_ERROR_INIT;
	FILE *f;

	for (size_t i = 0; i < ROUNDS; i++) {
		uint64_t at = BASE + i * KLP_STUB_SIZE;

		record[i] = random_near(at);
		word[i] = random_near(at);
		ck_assert_int_eq(
		    klp_stub_encode(ARCH, at, record[i], word[i], at, code + i * KLP_STUB_SIZE, KLP_STUB_SIZE, &e), 0);
		ck_assert_uint_eq(klp_stub_original(ARCH, at, record[i]), record[i]);
	}
	f = disassemble(code, sizeof(code));
	for (size_t i = 0; i < ROUNDS; i++) {
		uint64_t at = BASE + i * KLP_STUB_SIZE;
		char text[64];

		ck_assert(instruction(f, at, text, sizeof(text)));
		ck_assert_str_eq(text, "endbr64");
		check_insn(f, at + 4, "lea ", "(%rip),%r11", record[i]);
		check_insn(f, at + 11, "jmp *", "(%rip)", word[i]);
		check_insn(f, at + KLP_HOP_OFFSET, "jmp *", "(%rip)", record[i]);
	}
	fclose(f);
	ck_assert_int_eq(klp_stub_encode(ARCH, BASE, BASE + (1ull << 31) + 11, BASE, BASE, code, KLP_STUB_SIZE, &e),
			 -ERANGE);
	ck_assert_int_eq(e.reason, KLP_NO_ROOM);
	ck_assert_int_eq(klp_stub_encode(ARCH, BASE, BASE, BASE - (1ull << 31), BASE, code, KLP_STUB_SIZE, &e),
			 -ERANGE);
	ck_assert_int_eq(klp_stub_encode(ARCH, BASE, BASE, BASE, BASE, code, KLP_STUB_SIZE - 1, &e), -EINVAL);
	ck_assert_int_eq(klp_stub_encode(3, BASE, BASE, BASE, BASE, code, KLP_STUB_SIZE, &e), -ENOTSUP);
}
END_TEST

START_TEST(test_prefix)
{
	static const enum klp_site_layout layouts[] = {KLP_SITE_X86_ENTRY1, KLP_SITE_X86_ENTRY0, KLP_SITE_X86_ENDBR};
	static const unsigned reach[] = {8, 6, 5};
	static uint8_t code[ROUNDS * 32];
	static uint64_t slot[ROUNDS], hop[ROUNDS];
	struct klp_error e = KLP_ERROR_INIT;
	uint8_t out[KLP_PREFIX_MAX];
	struct klp_site s = {0};
	uint64_t at;
	size_t len;
	FILE *f;

	memset(code, 0xcc, sizeof(code));
	for (size_t i = 0; i < ROUNDS; i++) {
		s = (struct klp_site){
		    .layout = layouts[i % 3], .entry = BASE + i * 32 + 16, .prefix = BASE + i * 32, .prefix_len = 16};
		slot[i] = random_near(s.entry);
		hop[i] = random_near(s.entry);
		ck_assert_int_eq(klp_prefix_encode(ARCH, &s, slot[i], hop[i], out, &at, &len, &e), 0);
		ck_assert_uint_eq(at, s.entry - reach[i % 3]);
		ck_assert_uint_le(at + len, s.entry);
		memcpy(code + (at - BASE), out, len);
	}
	f = disassemble(code, sizeof(code));
	for (size_t i = 0; i < ROUNDS; i++) {
		uint64_t entry = BASE + i * 32 + 16;

		if (i % 3 == 2)
			check_insn(f, entry - 5, "jmp 0x", "", hop[i]);
		else
			check_insn(f, entry - reach[i % 3], "jmp *", "(%rip)", slot[i]);
	}
	fclose(f);
	s.layout = KLP_SITE_X86_ENTRY1;
	s.prefix = s.entry - 7;
	ck_assert_int_eq(klp_prefix_encode(ARCH, &s, s.entry, s.entry, out, &at, &len, &e), -EINVAL);
	ck_assert_int_eq(e.reason, KLP_PREFIX_TOO_SMALL);
	s.prefix = s.entry - 8;
	ck_assert_int_eq(klp_prefix_encode(ARCH, &s, s.entry + (1ull << 31), s.entry, out, &at, &len, &e), -ERANGE);
	ck_assert_int_eq(e.reason, KLP_NO_ROOM);
	s.layout = KLP_SITE_NONE;
	ck_assert_int_eq(klp_prefix_encode(ARCH, &s, s.entry, s.entry, out, &at, &len, &e), -EINVAL);
}
END_TEST

#define GUARD (9ull << 20)
#define REACH ((2ull << 30) - (1ull << 20))

static uint64_t near(struct klp_gap_map *m, size_t n, uint64_t start, uint64_t end_, uint64_t brk_start,
		     uint64_t brk_end, uint64_t size)
{
	struct klp_gap_query q = {.map = m,
				  .count = n,
				  .object_start = start,
				  .object_end = end_,
				  .brk_start = brk_start,
				  .brk_end = brk_end,
				  .size = size,
				  .reach = REACH,
				  .page = 4096,
				  .min_addr = 65536,
				  .max_addr = 0x7ffffffff000ull,
				  .stack_guard = GUARD};

	return klp_near_find(&q);
}

START_TEST(test_near_cases)
{
	/* PIE with its heap: directly below the object, one page kept. */
	struct klp_gap_map pie[] = {{0x555555554000, 0x555555560000, 0},
				    {0x555555561000, 0x555555582000, 0},
				    {0x7ffff7c00000, 0x7ffff7fff000, 0},
				    {0x7ffffffde000, 0x7ffffffff000, 1}};
	ck_assert_uint_eq(near(pie, 4, 0x555555554000, 0x555555560000, 0x555555561000, 0x555555582000, 0x4000),
			  0x55555554f000);
	/* A library: below it; above it is another mapping. */
	ck_assert_uint_eq(near(pie, 4, 0x7ffff7c00000, 0x7ffff7fff000, 0x555555561000, 0x555555582000, 0x4000),
			  0x7ffff7bfb000);
	/* Something in the way below: the next gap. */
	struct klp_gap_map tight[] = {{0x555500000000, 0x555555551000, 0}, {0x555555554000, 0x555555560000, 0}};
	ck_assert_uint_eq(near(tight, 2, 0x555555554000, 0x555555560000, 0, 0, 0x2000), 0x5554ffffd000);
	ck_assert_uint_eq(near(tight, 2, 0x555555554000, 0x555555560000, 0, 0, 0x1000), 0x555555552000);
	/* Nothing below within reach and the heap above: none, rather than a page above the break. */
	struct klp_gap_map full[] = {
	    {0x10000, 0x555555560000, 0}, {0x555555561000, 0x555555582000, 0}, {0x7ffff7c00000, 0x7ffff7fff000, 0}};
	ck_assert_uint_eq(near(full, 3, 0x555555554000, 0x555555560000, 0x555555561000, 0x555555582000, 0x1000), 0);
	/* The same without a heap: above. */
	ck_assert_uint_eq(near(full, 1, 0x555555554000, 0x555555560000, 0, 0, 0x1000), 0x555555561000);
	/* Not PIE: below it if it fits there, else above with 1 GiB for the heap. */
	struct klp_gap_map exec[] = {
	    {0x400000, 0x500000, 0}, {0x1000000, 0x1021000, 0}, {0x7ffff7c00000, 0x7ffff7fff000, 0}};
	ck_assert_uint_eq(near(exec, 3, 0x400000, 0x500000, 0x1000000, 0x1021000, 0x4000), 0x3fb000);
	ck_assert_uint_eq(near(exec, 3, 0x400000, 0x500000, 0x1000000, 0x1021000, 0x1000000),
			  0x1021000 + (1ull << 30) + 0x1000);
	/* A stack grows into the gap below it. */
	struct klp_gap_map stack[] = {{0x10000, 0x7ffff0000000, 0}, {0x7ffff0800000, 0x7ffff0900000, 1}};
	ck_assert_uint_eq(near(stack, 2, 0x7fffeff00000, 0x7ffff0000000, 0, 0, 0x1000), 0x7ffff0901000);
	/* Hostile: unsorted, overlapping, reversed, no page size. */
	struct klp_gap_map odd[] = {{0x20000, 0x10000, 0}, {0x555555554000, 0x555555560000, 0}, {0, 0x30000, 1}};
	near(odd, 3, 0x555555554000, 0x555555560000, 0, 0, 0x1000);
	ck_assert_uint_eq(near(pie, 4, 0x555555554000, 0x555555560000, 0, 0, 0), 0);
	ck_assert_uint_eq(near(pie, 4, 0x555555554000, 0x555555560000, 0, 0, REACH + 1), 0);
	ck_assert_uint_eq(near(pie, 4, 0x555555560000, 0x555555554000, 0, 0, 0x1000), 0);
}
END_TEST

/* Every answer keeps every rule, on random maps. */
START_TEST(test_near_random)
{
	unsigned found = 0, none = 0;

	for (int round = 0; round < 20000; round++) {
		struct klp_gap_map m[24];
		uint64_t at = 0x10000, object, size = (uint64_t)(random() % 64 + 1) << 12, r;
		size_t n = (size_t)(random() % 20 + 4), o = (size_t)random() % (n - 2);
		uint64_t shift = round % 2 ? 16 : 8; /* sparse and dense maps; every fourth nearly without gaps */

		for (size_t i = 0; i < n; i++) {
			at += round % 4 ? ((uint64_t)random() >> shift) << 12 : (uint64_t)(random() % 3) << 12;
			m[i].start = at;
			at += (((uint64_t)random() >> 14) + 1) << 12;
			m[i].end = at;
			m[i].grows_down = random() % 8 == 0;
		}
		object = m[o].start;
		r = near(m, n, object, m[o].end, m[o + 1].start, m[o + 1].end - (round % 3 ? 0 : 2048), size);
		if (!r) {
			none++;
			continue;
		}
		found++;
		ck_assert_uint_eq(r % 4096, 0);
		ck_assert_uint_ge(r, 65536 + 4096);
		for (size_t i = 0; i < n; i++) {
			uint64_t from = m[i].grows_down ? (m[i].start > GUARD ? m[i].start - GUARD : 0) : m[i].start;

			/* A stack's range ends at the mapping below it. */
			if (m[i].grows_down && i && from < m[i - 1].end)
				from = m[i - 1].end < m[i].start ? m[i - 1].end : m[i].start;
			ck_assert(r >= m[i].end + 4096 || r + size + (m[i].grows_down ? 0 : 4096) <= from);
		}
		ck_assert(r > object ? r + size - object <= REACH : m[o].end - r <= REACH);
		/* Between the break and the next mapping: only for a low object, and 1 GiB clear. */
		if (object >= 1ull << 32)
			ck_assert(r < m[o + 1].end || r >= m[o + 2].end || r >= m[o + 1].end + (1ull << 40));
		else
			ck_assert(r < m[o + 1].end || r >= m[o + 1].end + (1ull << 30));
	}
	ck_assert_uint_gt(found, 1000);
	ck_assert_uint_gt(none, 10);
}
END_TEST

/* The real maps: what it finds can be mapped, and the break still moves afterwards. */
START_TEST(test_near_self)
{
	struct world w;
	void *old;

	world_make(&w, 1);
	old = sbrk(1 << 20);
	ck_assert_ptr_ne(old, (void *)-1);
	sbrk(-(1 << 20));
	world_free(&w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("encode");
	TCase *tc = tcase_create("encode");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_stub);
	tcase_add_test(tc, test_prefix);
	tcase_add_test(tc, test_near_cases);
	tcase_add_test(tc, test_near_random);
	tcase_add_test(tc, test_near_self);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
