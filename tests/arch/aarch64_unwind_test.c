/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unwinder's aarch64 part, on any host: its decoders against binutils, over random instructions; and walks over a
 * table made by hand: link registers, signed return addresses, signal frames, rows that come too late.
 */
#include <check.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disassembly.h"
#include "link_register.h"
#include "tables.h"
#include "unwind/internal.h"

#define WORDS 20000u

static struct klp_unw_trace trace;

/* What binutils says the instruction adds to sp: from `[sp, #N]!`, `[sp], #N`, `add sp, sp, #N[, lsl #12]`. */
static int64_t said_adds(const char *text)
{
	const char *at = strstr(text, "[sp, #");
	int64_t n;

	if (!strncmp(text, "add sp, sp, #", 13) || !strncmp(text, "sub sp, sp, #", 13)) {
		n = strtoll(text + 13, NULL, 0);
		if (strstr(text, "lsl #12"))
			n <<= 12;
		return text[0] == 's' ? -n : n;
	}
	if (at && strchr(at, '!'))
		return strtoll(at + 6, NULL, 0);
	at = strstr(text, "[sp], #");
	return at ? strtoll(at + 7, NULL, 0) : 0;
}

/* Does it load x29 or x30 whole from the stack? */
static uint64_t said_reloads(const char *text)
{
	uint64_t m = 0;
	const char *operands = strchr(text, ' '), *base = strchr(text, '[');
	unsigned reg;

	if (!operands || !base || strstr(base, ", w") || strstr(base, ", x") ||
	    (strncmp(base, "[sp", 3) && strncmp(base, "[x29", 4)))
		return 0;
	if (strncmp(text, "ldp ", 4) && strncmp(text, "ldr ", 4) && strncmp(text, "ldur ", 5) &&
	    strncmp(text, "ldnp ", 5) && strncmp(text, "ldtr ", 5))
		return 0;
	for (const char *p = operands; p < base; p++)
		if (p[-1] == ' ' && sscanf(p, "x%u", &reg) == 1 && (reg == 29 || reg == 30))
			m |= 1ull << reg;
	return m;
}

static bool is_of_memory_tags(const char *text)
{
	return !strncmp(text, "st", 2) && (strchr("gz2", text[2]) && (strstr(text, "g ") || strstr(text, "gp ")));
}

START_TEST(test_decoders)
{
	static uint32_t word[WORDS];
	unsigned adds = 0, reloads = 0;
	struct disassembly d;

	for (unsigned i = 0; i < WORDS; i++) {
		uint32_t r = (uint32_t)random() << 16 ^ (uint32_t)random();

		/* Immediate additions; pairs; single loads and stores; anything. Mostly of sp. */
		switch (i % 5) {
		case 0:
			r = 0x91000000u | (r & 0x407ffc00u) | 31u << 5 | 31;
			break;
		case 1:
			r = 0x28000000u | (r & 0xc7ffffffu);
			break;
		case 2:
			r = 0x38000000u | (r & 0xc7dfffffu);
			break;
		case 3:
			r = (i % 2 ? 0xa8400000u : 0xf8400000u) | (r & 0x01bfffe0u) | 29u | (r >> 31);
			break;
		default:
			break;
		}
		if (i % 8)
			r = (r & ~(31u << 5)) | (i % 7 ? 31u : 29u) << 5;
		word[i] = r;
	}
	disassembly_make(&d, KLP_TEST_OBJDUMP, "aarch64", (const uint8_t *)word, sizeof(word), BASE);
	for (unsigned i = 0; i < WORDS; i++) {
		const char *text = disassembly_at(&d, BASE + i * 4);
		const uint8_t *p = (const uint8_t *)&word[i];
		size_t insn = 0;

		if (strchr(text, '{') || !strncmp(text, "ldra", 4) || is_of_memory_tags(text) ||
		    strstr(text, "undefined") || !strncmp(text, ".inst", 5) || !strncmp(text, "prfm", 4))
			continue;
		ck_assert_msg(klp_unw_aarch64.sp_adds(p, 4, &insn) == said_adds(text), "%08x `%s`: %lld", word[i], text,
			      (long long)klp_unw_aarch64.sp_adds(p, 4, &insn));
		ck_assert_msg(klp_unw_aarch64.reloads(p, 4, &insn) == said_reloads(text), "%08x `%s`: %llx", word[i],
			      text, (unsigned long long)klp_unw_aarch64.reloads(p, 4, &insn));
		adds += said_adds(text) != 0;
		reloads += said_reloads(text) != 0;
	}
	ck_assert_uint_gt(adds, WORDS / 10);
	ck_assert_uint_gt(reloads, WORDS / 100);
	disassembly_free(&d);
}
END_TEST

/*
 * entry (end), middle at +0x100 (32 bytes, x29 and x30 at 0 and 8), leaf at +0x200 (no frame, link register), signed at
 * +0x300 (as middle, its return address signed), late at +0x400 (as middle to its end, which loads back at +8), signal
 * trampoline at +0x500, with a frame that has no link register in it at +0x600, trampolines without rows at +0x700,
 * right behind that, and at +0x720. At +0x800 as at +0x400, but for an epilogue whose rows come with the addition to
 * the stack pointer, as gcc's do, and code behind the return that it does not lead to.
 */
static struct klp_unw_space *space_make(void)
{
	const struct klp_unw_object o = {.text_start = BASE,
					 .text_end = BASE + 0x1000,
					 .eh_frame = table,
					 .eh_frame_addr = 0x10000,
					 .entry = BASE + 0x10};
	struct klp_unw_object object = o;
	struct klp_unw_space *s = klp_unw_space_new(EM_AARCH64);
	struct klp_error e = KLP_ERROR_INIT;
	uint32_t end = 0;
	size_t cie;

	ck_assert_ptr_nonnull(s);
	table_len = 0;
	cie = put_cie("zR", 4, 30, 31);
	put_fde(cie, BASE, 0x100, (const uint8_t[]){0x07, 30}, 2);
	put_fde(cie, BASE + 0x100, 0x100, (const uint8_t[]){0x41, 0x0e, 32, 0x9d, 4, 0x9e, 3}, 7);
	put_fde(cie, BASE + 0x200, 0x100, (const uint8_t[]){0}, 1);
	put_fde(cie, BASE + 0x300, 0x100, (const uint8_t[]){0x41, 0x2d, 0x41, 0x0e, 32, 0x9d, 4, 0x9e, 3}, 9);
	put_fde(cie, BASE + 0x400, 0x100, (const uint8_t[]){0x0e, 32, 0x9d, 4, 0x9e, 3}, 6);
	put_fde(cie, BASE + 0x600, 0x100, (const uint8_t[]){0x0e, 32}, 2);
	put_fde(cie, BASE + 0x800, 0x100,
		(const uint8_t[]){0x0e, 32, 0x9d, 4, 0x9e, 3, 0x45, 0x0a, 0xdd, 0xde, 0x0e, 0, 0x41, 0x0b}, 14);
	cie = put_cie("zRS", 4, 30, 31);
	put_fde(cie, BASE + 0x500, 0x100, (const uint8_t[]){0x0c, 29, 0, 0x9d, 0, 0x9e, 0x7f}, 7);
	put(&end, 4);
	object.eh_frame_len = table_len;
	ck_assert_msg(klp_unw_add_object(s, &object, &e) >= 0, "%s", e.text);
	memset(stack, 0, sizeof(stack));
	memset(&trace, 0, sizeof(trace));
	for (size_t i = 0; i < sizeof(code) / 4; i++)
		code[i] = 0xd503201f;
	code[0x404 / 4] = 0xa9407bfd; /* ldp x29, x30, [sp] */
	code[0x804 / 4] = 0xa9407bfd; /* ldp x29, x30, [sp] */
	code[0x810 / 4] = 0x910083ff; /* add sp, sp, #32 */
	code[0x814 / 4] = 0xd65f03c0; /* ret */
	code[0x504 / 4] = 0xd2801168; /* mov x8, #139 */
	code[0x508 / 4] = 0xd4000001; /* svc #0 */
	code[0x700 / 4] = code[0x720 / 4] = 0xd2801168;
	code[0x704 / 4] = code[0x724 / 4] = 0xd4000001;
	return s;
}

/* The stack's top is its end. A walk from pc at sp, with x29 and x30 or without. */
static enum klp_reason walk(struct klp_unw_space *s, uint32_t pc, unsigned word, uint64_t lr)
{
	const struct klp_unw_thread th = {STACK, STACK + sizeof(stack), 16, true};
	struct klp_unw_regs r = {.pc = BASE + pc, .known = 1ull << 31};

	r.r[31] = STACK + word * 8ull;
	if (lr) {
		r.r[30] = lr;
		r.known |= 3ull << 29;
	}
	klp_unw_walk(s, &r, &th, read_memory, NULL, &trace);
	return trace.verdict;
}

#define TOP STACK_WORDS
/* A frame of 4 words below `above`, which returns to pc. */
static unsigned push(unsigned above, uint64_t pc)
{
	stack[above - 3] = pc;
	return above - 4;
}

START_TEST(test_link_register)
{
	check_link_register(&(struct link_machine){space_make, walk, push, &trace});
}
END_TEST

START_TEST(test_signed_return_address)
{
	const uint64_t pac = 0x7a5a000000000000ull;
	struct klp_unw_space *s = space_make();
	unsigned w = push(TOP, (BASE + 0x50) | pac);

	ck_assert_int_eq(walk(s, 0x380, w, 0), KLP_OK);
	ck_assert_uint_eq(trace.frame[1].pc, BASE + 0x50);
	/* Between paciasp and the store the link register is signed; before it is not. */
	ck_assert_int_eq(walk(s, 0x304, TOP, (BASE + 0x50) | pac), KLP_OK);
	ck_assert_int_eq(walk(s, 0x300, TOP, BASE + 0x50), KLP_OK);
	/* Nothing is stripped that the table does not call signed. */
	ck_assert_int_eq(walk(s, 0x300, TOP, (BASE + 0x50) | pac), KLP_UNW_NO_MODULE);
	ck_assert_int_eq(walk(s, 0x180, w, 0), KLP_UNW_NO_MODULE);
	klp_unw_space_free(s);
}
END_TEST

START_TEST(test_late_rows)
{
	struct klp_unw_space *s = space_make();
	unsigned w = push(TOP, BASE + 0x50);

	ck_assert_int_eq(walk(s, 0x404, w, 0), KLP_OK);
	/* The frame is gone, its row is not: x29 and x30 are the caller's. */
	ck_assert_int_eq(walk(s, 0x408, TOP, BASE + 0x50), KLP_UNW_BAD_ROW);
	ck_assert_int_eq(walk(s, 0x408 + 60, TOP, BASE + 0x50), KLP_UNW_BAD_ROW);
	/* The same of the stack pointer alone, and of both. */
	code[0x404 / 4] = 0x910083ff; /* add sp, sp, #32 */
	ck_assert_int_eq(walk(s, 0x408, TOP, BASE + 0x50), KLP_UNW_BAD_ROW);
	code[0x404 / 4] = 0xa8c27bfd; /* ldp x29, x30, [sp], #32 */
	ck_assert_int_eq(walk(s, 0x408, TOP, BASE + 0x50), KLP_UNW_BAD_ROW);
	/* An epilogue that the rows describe, if only when it is over, is not what the code behind it has left. */
	ck_assert_int_eq(walk(s, 0x818, w, 0), KLP_OK);
	ck_assert_int_eq(walk(s, 0x804 + 60, w, 0), KLP_OK);
	ck_assert_int_eq(walk(s, 0x814, TOP, BASE + 0x50), KLP_OK);
	/* Behind a call nothing of that is next. */
	stack[w + 1] = BASE + 0x410;
	ck_assert_int_eq(walk(s, 0x180, push(w, BASE + 0x410), 0), KLP_UNW_OUT_OF_STACK);
	ck_assert_uint_eq(trace.frame_no, 2);
	klp_unw_space_free(s);
}
END_TEST

START_TEST(test_signal_frame)
{
	struct klp_unw_space *s = space_make();
	unsigned interrupted = push(TOP, BASE + 0x50), frame = interrupted - 4688 / 8 - 2,
		 regs = frame + (128 + 176 + 8) / 8;

	ck_assert_uint_gt(frame, 100);
	/* A leaf was interrupted that the middle function had called; the handler returns to the trampoline. */
	stack[regs + 30] = BASE + 0x150;
	stack[regs + 31] = STACK + interrupted * 8ull;
	stack[regs + 32] = BASE + 0x210;
	ck_assert_int_eq(walk(s, 0x180, push(frame, BASE + 0x504), 0), KLP_OK);
	ck_assert_uint_eq(trace.count, 5);
	ck_assert(trace.frame[1].signal && trace.frame[2].pc == BASE + 0x210 && trace.frame[2].lookup == BASE + 0x210);
	ck_assert_uint_eq(trace.frame[3].pc, BASE + 0x150);
	/* In the trampoline itself. */
	ck_assert_int_eq(walk(s, 0x504, frame, 0), KLP_OK);
	/* Newer kernels have no rows for it. */
	ck_assert_int_eq(walk(s, 0x180, push(frame, BASE + 0x720), 0), KLP_OK);
	ck_assert(trace.count == 5 && trace.frame[1].signal && trace.frame[2].pc == BASE + 0x210);
	/* Right behind a function whose last instruction may be a call: it cannot be told which returns there. */
	ck_assert_int_eq(walk(s, 0x180, push(frame, BASE + 0x700), 0), KLP_UNW_BAD_ROW);
	/* It is one by its code, and not by its rows. */
	code[0x508 / 4] = 0xd503201f;
	ck_assert_int_eq(walk(s, 0x504, frame, 0), KLP_UNW_BAD_ROW);
	code[0x508 / 4] = 0xd4000001;
	/* A frame that does not fit under the top. */
	ck_assert_int_eq(walk(s, 0x504, TOP - 100, 0), KLP_UNW_OUT_OF_STACK);
	klp_unw_space_free(s);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("unwind");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_decoders);
	tcase_add_test(tc, test_link_register);
	tcase_add_test(tc, test_signed_return_address);
	tcase_add_test(tc, test_late_rows);
	tcase_add_test(tc, test_signal_frame);
	return tables_main("aarch64 unwind", tc);
}
