/* SPDX-License-Identifier: Apache-2.0 */
/* The unwinder on arrays: each verdict from a table made by hand, and tables that are cut off or damaged. */
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unwind/space.h"
#include "unwind/image.h"

#define TEXT 0x10000u
#define STACK 0x80000u

/* Three functions of 0x100 bytes: entry (undefined return address), middle, leaf; and the rows of the last two. */
static uint8_t table[512];
static size_t table_len, leaf_at;
static uint64_t stack[36];
static struct klp_unw_trace trace;

static void put(const void *p, size_t n)
{
	memcpy(table + table_len, p, n);
	table_len += n;
}

static void put_int(uint32_t v)
{
	put(&v, 4);
}

static void put_record(uint32_t id, const uint8_t *body, size_t n)
{
	put_int((uint32_t)(4 + n));
	put_int(id);
	put(body, n);
}

/* Returns where the instructions begin. */
static size_t put_fde(uint32_t start, uint32_t len, const uint8_t *insn, size_t n)
{
	uint8_t body[64];

	memcpy(body, &start, 4);
	memcpy(body + 4, &len, 4);
	body[8] = 0;
	memcpy(body + 9, insn, n);
	/* The id is the distance to the CIE, which is at 0. */
	put_record((uint32_t)table_len + 4, body, 9 + n);
	return table_len - n;
}

static void make_table(const char *letters)
{
	uint8_t cie[32];
	size_t n = 0, l = strlen(letters);

	table_len = 0;
	cie[n++] = 1;
	memcpy(cie + n, letters, l + 1);
	n += l + 1;
	/* code 1, data -8, column 16, one byte: udata4; cfa = rsp + 8, return address at cfa - 8 */
	memcpy(cie + n, (const uint8_t[]){1, 0x78, 16, 1, 0x03, 0x0c, 7, 8, 0x90, 1}, 10);
	put_record(0, cie, n + 10);
	put_fde(TEXT, 0x100, (const uint8_t[]){0x07, 16}, 2);
	put_fde(TEXT + 0x100, 0x100, (const uint8_t[]){0x0e, 32, 0x83, 2}, 4);
	leaf_at = put_fde(TEXT + 0x200, 0x100, (const uint8_t[]){0x44, 0x0e, 16, 0}, 4);
	put_int(0);
	memset(stack, 0, sizeof(stack));
	/* leaf at +4: 16 bytes; middle: 32 bytes; then the entry with its CFA at the top */
	stack[20] = 0x1111;
	stack[21] = TEXT + 0x180;
	stack[25] = TEXT + 0x50;
}

static int read_stack(void *ctx, uint64_t addr, void *buf, size_t len)
{
	(void)ctx;
	if (addr < STACK || addr - STACK > sizeof(stack) || len > sizeof(stack) - (addr - STACK))
		return -EFAULT;
	memcpy(buf, (const uint8_t *)stack + (addr - STACK), len);
	return 0;
}

static enum klp_reason walk_at(uint64_t pc, size_t len, uint64_t range, uint64_t known)
{
	struct klp_unw_object o = {.text_start = TEXT,
				   .text_end = TEXT + 0x400,
				   .eh_frame = table,
				   .eh_frame_len = len,
				   .eh_frame_addr = 0x1000,
				   .entry = TEXT};
	struct klp_unw_thread th = {STACK, STACK + 27 * 8, 16, true};
	struct klp_unw_regs regs = {.pc = pc, .known = known};
	struct klp_unw_space *s = klp_unw_space_new(EM_X86_64);
	struct klp_error e = KLP_ERROR_INIT;

	regs.r[7] = STACK + 20 * 8;
	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq(klp_unw_add_object(s, &o, &e), 0);
	if (range)
		ck_assert_int_eq(klp_unw_add_range(s, range, range + 1, KLP_UNW_RANGE_PREFIX, &e), 0);
	klp_unw_walk(s, &regs, &th, read_stack, NULL, &trace);
	klp_unw_space_free(s);
	return trace.verdict;
}

static enum klp_reason walk(void)
{
	return walk_at(TEXT + 0x204, table_len, 0, 1 << 7);
}

static enum klp_reason leaf(const uint8_t insn[4])
{
	make_table("zR");
	memcpy(table + leaf_at, insn, 4);
	return walk();
}
#define LEAF(...) leaf((const uint8_t[4]){__VA_ARGS__})

START_TEST(reliable)
{
	make_table("zR");
	ck_assert_int_eq(walk(), KLP_OK);
	ck_assert_uint_eq(trace.count, 3);
	ck_assert_uint_eq(trace.frame[1].pc, TEXT + 0x180);
	ck_assert_uint_eq(trace.frame[1].lookup, TEXT + 0x17f);
	ck_assert_uint_eq(trace.frame[2].pc, TEXT + 0x50);
	/* Without advance the row at +4 has the whole prologue's effect as well; one byte earlier it has not. */
	ck_assert_int_ne(walk_at(TEXT + 0x203, table_len, 0, 1 << 7), KLP_OK);
	/* U4: a return address at the end of a function belongs to that function. */
	stack[21] = TEXT + 0x200;
	ck_assert_int_eq(walk(), KLP_OK);
	ck_assert_uint_eq(trace.frame[1].fde_start, TEXT + 0x100);
}
END_TEST

/* A frame that saves what a landing pad is given can be rewritten by itself at any time (__builtin_eh_return). */
START_TEST(caller_hidden)
{
	make_table("zR");
	memcpy(table + leaf_at, (const uint8_t[]){0x0e, 16, 0x80, 2}, 4);
	ck_assert_int_eq(walk(), KLP_OK); /* rax alone */
	memcpy(table + leaf_at, (const uint8_t[]){0x80, 2, 0x81, 2}, 4);
	ck_assert_int_eq(walk(), KLP_UNW_CALLER_HIDDEN);
	ck_assert_uint_eq(trace.frame_no, 0);
	make_table("zRS");
	memcpy(table + leaf_at, (const uint8_t[]){0x80, 2, 0x81, 2}, 4);
	ck_assert_int_ne(walk(), KLP_UNW_CALLER_HIDDEN); /* a signal frame saves everything */
}
END_TEST

START_TEST(verdicts)
{
	make_table("zR");
	ck_assert_int_eq(walk_at(0x999, table_len, 0, 1 << 7), KLP_UNW_NO_MODULE);
	ck_assert_int_eq(walk_at(TEXT + 0x300, table_len, 0, 1 << 7), KLP_UNW_NO_ROW);
	ck_assert_int_eq(walk_at(TEXT + 0x204, table_len, 0, 0), KLP_UNW_REG_UNKNOWN);
	/* U3 and U4: the innermost frame by its pc, the others by the byte before their return address */
	ck_assert_int_eq(walk_at(TEXT + 0x204, table_len, TEXT + 0x204, 1 << 7), KLP_UNW_IN_TRAMPOLINE);
	ck_assert_int_eq(walk_at(TEXT + 0x204, table_len, TEXT + 0x17f, 1 << 7), KLP_UNW_IN_TRAMPOLINE);
	ck_assert_int_eq(walk_at(TEXT + 0x204, table_len, TEXT + 0x180, 1 << 7), KLP_OK);
	stack[21] = 0;
	ck_assert_int_eq(walk(), KLP_UNW_NO_END);
	stack[21] = TEXT + 0x180;
	stack[25] = 0x999;
	ck_assert_int_eq(walk(), KLP_UNW_NO_MODULE);
	/* the entry's row, but far below the top of the stack */
	stack[21] = TEXT + 0x50;
	ck_assert_int_eq(walk(), KLP_UNW_NO_END);
	ck_assert_int_eq(LEAF(0x07, 16, 0, 0), KLP_UNW_NO_END);
	ck_assert_int_eq(LEAF(0x0d, 6, 0, 0), KLP_UNW_REG_UNKNOWN);
	ck_assert_int_eq(LEAF(0x0e, 0, 0, 0), KLP_UNW_OUT_OF_STACK);
	ck_assert_int_eq(LEAF(0x0e, 0xff, 0x7f, 0), KLP_UNW_OUT_OF_STACK);
	ck_assert_int_eq(LEAF(0x13, 1, 0, 0), KLP_UNW_NOT_MONOTONIC);
	ck_assert_int_eq(LEAF(0x3f, 0, 0, 0), KLP_UNW_BAD_ROW);    /* no such operation */
	ck_assert_int_eq(LEAF(0x0b, 0, 0, 0), KLP_UNW_BAD_ROW);    /* restore without remember */
	ck_assert_int_eq(LEAF(0x0f, 1, 0x30, 0), KLP_UNW_BAD_ROW); /* another expression */
	ck_assert_int_eq(LEAF(0x0f, 0x20, 0, 0), KLP_UNW_BAD_ROW); /* a block beyond the end */
	ck_assert_int_eq(LEAF(0x87, 2, 0, 0), KLP_UNW_BAD_ROW);    /* rsp by rule outside a signal frame */
	ck_assert_int_eq(LEAF(0x0e, 24, 0, 0), KLP_UNW_NO_END);    /* a wrong row leads to a word of 0: no end */
}
END_TEST

START_TEST(other_augmentation)
{
	make_table("zRS");
	ck_assert_int_eq(walk(), KLP_OK);
	ck_assert(trace.frame[0].signal);
	ck_assert_uint_eq(trace.frame[1].lookup, TEXT + 0x180);
	make_table("zRX");
	ck_assert_int_eq(walk(), KLP_UNW_NO_ROW);
}
END_TEST

START_TEST(overlap)
{
	make_table("zR");
	table_len -= 4;
	put_fde(TEXT + 0x210, 0x10, (const uint8_t[]){0x0e, 16}, 2);
	put_int(0);
	ck_assert_int_eq(walk(), KLP_UNW_BAD_ROW);
}
END_TEST

START_TEST(cut_off)
{
	for (size_t n = 0; n <= 512; n++) {
		make_table("zR");
		if (n > table_len)
			break;
		/* Whatever is cut off, the frames that remain are true ones. */
		ck_assert(n + 4 >= table_len || walk_at(TEXT + 0x204, n, 0, 1 << 7) == KLP_UNW_NO_ROW);
	}
}
END_TEST

/* The tables of this very test's libc and executable, cut off and damaged: no crash (and none under the sanitizers). */
START_TEST(hostile)
{
	pid_t self = getpid();
	struct klp_unw_object o = {0}, bad;
	struct klp_error e = KLP_ERROR_INIT;
	extern const char __ehdr_start[];
	void *storage;
	uint8_t *copy, *hdr;

	srand(1);
	ck_assert_int_eq(klp_unw_object_from_memory((uintptr_t)__ehdr_start, test_read, &self, &o, &storage, &e), 0);
	ck_assert_uint_gt(o.eh_frame_len, 100);
	copy = malloc(o.eh_frame_len);
	hdr = malloc(o.eh_frame_hdr_len);
	ck_assert(copy && hdr);
	for (unsigned round = 0; round < 3000; round++) {
		struct klp_unw_space *s = klp_unw_space_new(EM_X86_64);
		struct klp_unw_regs regs = {.known = 0xffff};
		struct klp_unw_thread th = {STACK, STACK + sizeof(stack), 16, true};

		ck_assert_ptr_nonnull(s);
		bad = o;
		memcpy(copy, o.eh_frame, o.eh_frame_len);
		memcpy(hdr, o.eh_frame_hdr, o.eh_frame_hdr_len);
		bad.eh_frame = copy;
		bad.eh_frame_hdr = round & 1 ? hdr : NULL;
		if (round % 3)
			for (unsigned i = 0; i < 1 + round % 64; i++)
				copy[(size_t)rand() % o.eh_frame_len] = (uint8_t)rand();
		else
			bad.eh_frame_len = round % o.eh_frame_len;
		if (round & 4)
			hdr[(size_t)rand() % o.eh_frame_hdr_len] = (uint8_t)rand();
		if (klp_unw_add_object(s, &bad, &e) >= 0)
			for (unsigned i = 0; i < 50; i++) {
				regs.pc = o.text_start + (uint64_t)rand() % (o.text_end - o.text_start);
				regs.r[7] = STACK + (unsigned)rand() % 128;
				klp_unw_walk(s, &regs, &th, read_stack, NULL, &trace);
				ck_assert_uint_le(trace.count, KLP_UNW_MAX_FRAMES);
			}
		klp_unw_space_free(s);
	}
	free(copy);
	free(hdr);
	free(storage);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("unwind");
	TCase *t = tcase_create("tables");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, reliable);
	tcase_add_test(t, caller_hidden);
	tcase_add_test(t, verdicts);
	tcase_add_test(t, other_augmentation);
	tcase_add_test(t, overlap);
	tcase_add_test(t, cut_off);
	tcase_add_test(t, hostile);
	suite_add_tcase(suite, t);
	r = srunner_create(suite);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
