/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unwinder's riscv64 part, on any host: its decoders against binutils, over every instruction of two bytes and
 * random ones of four; and walks over a table made by hand: link registers, signal frames, rows that come too late, the
 * ends.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disassembly.h"
#include "link_register.h"
#include "tables.h"
#include "unwind/internal.h"

#define WORDS 20000u
#define SHORTS 0x10000u
#define C_NOP 0x0001u
#define NOP 0x00000013u

static struct klp_unw_trace trace;

static bool is_addition(const char *text)
{
	return !strncmp(text, "add sp,sp,", 10) || !strncmp(text, "addi sp,sp,", 11) ||
	       !strncmp(text, "c.addi sp,", 10) || !strncmp(text, "c.addi16sp sp,", 14);
}

/* What binutils says the instruction adds to sp. */
static int64_t said_adds(const char *text)
{
	const char *at = strrchr(text, ',');
	char *end;
	int64_t n;

	if (!is_addition(text))
		return 0;
	n = strtoll(at + 1, &end, 0);
	return *end ? 0 : n; /* a register */
}

/* Does it load ra or s0 whole from the stack? */
static uint64_t said_reloads(const char *text)
{
	const char *base = strchr(text, '(');

	if (strncmp(text, "ld ", 3) || !base || (strncmp(base, "(sp)", 4) && strncmp(base, "(s0)", 4)))
		return 0;
	return !strncmp(text + 3, "ra,", 3) ? 1ull << 1 : !strncmp(text + 3, "s0,", 3) ? 1ull << 8 : 0;
}

static unsigned adds, reloads;

static void agree(const struct disassembly *d, uint64_t at, const uint8_t *p, size_t len)
{
	const char *text = disassembly_at(d, at);
	size_t insn = 0;

	ck_assert_msg(klp_unw_riscv64.sp_adds(p, len, &insn) == said_adds(text), "`%s`: %lld", text,
		      (long long)klp_unw_riscv64.sp_adds(p, len, &insn));
	ck_assert(!said_adds(text) || insn == len);
	insn = 0;
	ck_assert_msg(klp_unw_riscv64.reloads(p, len, &insn) == said_reloads(text), "`%s`: %llx", text,
		      (unsigned long long)klp_unw_riscv64.reloads(p, len, &insn));
	ck_assert(!said_reloads(text) || insn == len);
	adds += said_adds(text) != 0;
	reloads += said_reloads(text) != 0;
}

START_TEST(test_short_instructions)
{
	static uint16_t half[SHORTS];
	struct disassembly d;

	for (unsigned i = 0; i < SHORTS; i++)
		half[i] = (uint16_t)((i & 3) == 3 ? C_NOP : i);
	disassembly_make(&d, KLP_TEST_OBJDUMP, "riscv:rv64", (const uint8_t *)half, sizeof(half), BASE);
	for (unsigned i = 0; i < SHORTS; i++)
		agree(&d, BASE + 2 * i, (const uint8_t *)&half[i], 2);
	disassembly_free(&d);
	ck_assert_uint_eq(adds, 63 + 63); /* all but 0 of c.addi sp and c.addi16sp */
	ck_assert_uint_eq(reloads, 2 * 64 + 32);
}
END_TEST

START_TEST(test_long_instructions)
{
	static uint32_t word[WORDS];
	struct disassembly d;

	for (unsigned i = 0; i < WORDS; i++) {
		uint32_t r = (uint32_t)random() << 16 ^ (uint32_t)random();

		/* addi, ld, both mostly of sp; anything. */
		switch (i % 4) {
		case 0:
			r = (r & 0xfff00000u) | 0x10113u | (i % 16 ? 0 : r & 0xff000u);
			break;
		case 1:
			r = (r & 0xfff00000u) | 0x3003u | (i % 8 < 4 ? 2u : 8u) << 15 | (i % 3 ? 1u : 8u) << 7;
			break;
		case 2:
			r = (r & 0xffffff80u) | 0x03u;
			break;
		default:
			break;
		}
		word[i] = (r & 3) == 3 && (r & 0x1c) != 0x1c ? r : NOP;
	}
	disassembly_make(&d, KLP_TEST_OBJDUMP, "riscv:rv64", (const uint8_t *)word, sizeof(word), BASE);
	for (unsigned i = 0; i < WORDS; i++)
		agree(&d, BASE + 4 * i, (const uint8_t *)&word[i], 4);
	disassembly_free(&d);
	ck_assert_uint_gt(adds, WORDS / 8);
	ck_assert_uint_gt(reloads, WORDS / 8);
}
END_TEST

/*
 * entry (end), middle at +0x100 (32 bytes, s0 and ra at 16 and 24), leaf at +0x200 (no frame, link register), late at
 * +0x400 (as middle to its end, which loads ra back at +8), signal trampoline at +0x504 and another at +0x700, where
 * middle's like ends, a frame that has no return address in it at +0x600.
 */
static struct klp_unw_space *space_make_from(const uint8_t *patch, size_t patch_at)
{
	struct klp_unw_object object = {.text_start = BASE,
					.text_end = BASE + 0x1000,
					.eh_frame = table,
					.eh_frame_addr = 0x10000,
					.entry = BASE + 0x10};
	struct klp_unw_space *s = klp_unw_space_new(EM_RISCV);
	struct klp_error e = KLP_ERROR_INIT;
	uint32_t end = 0;
	size_t cie;

	ck_assert_ptr_nonnull(s);
	table_len = 0;
	cie = put_cie("zR", 1, 1, 2);
	put_fde(cie, BASE, 0x100, (const uint8_t[]){0x07, 1}, 2);
	put_fde(cie, BASE + 0x100, 0x100, (const uint8_t[]){0x42, 0x0e, 32, 0x81, 1, 0x88, 2}, 7);
	put_fde(cie, BASE + 0x200, 0x100, (const uint8_t[]){0}, 1);
	put_fde(cie, BASE + 0x400, 0x100, (const uint8_t[]){0x0e, 32, 0x81, 1, 0x88, 2}, 6);
	put_fde(cie, BASE + 0x600, 0x100, (const uint8_t[]){0x0e, 32}, 2);
	cie = put_cie("zRS", 1, 1, 2);
	put_fde(cie, BASE + 0x504, 0xfc, (const uint8_t[]){0}, 1);
	put_fde(cie, BASE + 0x700, 0x100, (const uint8_t[]){0}, 1);
	put(&end, 4);
	if (patch)
		memcpy(table + patch_at, patch, 3);
	object.eh_frame_len = table_len;
	ck_assert_msg(klp_unw_add_object(s, &object, &e) >= 0, "%s", e.text);
	memset(stack, 0, sizeof(stack));
	memset(&trace, 0, sizeof(trace));
	for (size_t i = 0; i < sizeof(code) / 4; i++)
		code[i] = C_NOP | C_NOP << 16;
	code[0x404 / 4] = 0x60e2u | C_NOP << 16; /* c.ldsp ra, 24(sp) */
	code[0x504 / 4] = 0x08b00893;            /* li a7, 139 */
	code[0x508 / 4] = 0x00000073;            /* ecall */
	code[0x700 / 4] = 0x08b00893;
	code[0x704 / 4] = 0x00000073;
	return s;
}

static struct klp_unw_space *space_make(void)
{
	return space_make_from(NULL, 0);
}

/* The stack's top is its end. A walk from pc at sp, with ra and s0 or without. */
static enum klp_reason walk(struct klp_unw_space *s, uint32_t pc, unsigned word, uint64_t ra)
{
	const struct klp_unw_thread th = {STACK, STACK + sizeof(stack), 16, true};
	struct klp_unw_regs r = {.pc = BASE + pc, .known = 1ull << 2};

	r.r[2] = STACK + word * 8ull;
	if (ra) {
		r.r[1] = ra;
		r.known |= 1ull << 1 | 1ull << 8;
	}
	klp_unw_walk(s, &r, &th, read_memory, NULL, &trace);
	return trace.verdict;
}

#define TOP STACK_WORDS
/* A frame of 4 words below `above`, which returns to pc. */
static unsigned push(unsigned above, uint64_t pc)
{
	stack[above - 1] = pc;
	return above - 4;
}

/* What gas begins its CIEs with: def_cfa_register, and no offset. */
START_TEST(test_cie_of_gas)
{
	struct klp_unw_space *s = space_make();
	size_t at = 0;

	/* def_cfa sp, 0 -> def_cfa_register sp, nop; in the first CIE, which the middle function has. */
	while (memcmp(table + at, (const uint8_t[]){0x0c, 2, 0}, 3))
		at++;
	klp_unw_space_free(s);
	s = space_make_from((const uint8_t[]){0x0d, 2, 0}, at);
	ck_assert_int_eq(walk(s, 0x180, push(TOP, BASE + 0x50), 0), KLP_OK);
	ck_assert_uint_eq(trace.count, 2);
	klp_unw_space_free(s);
	/* Nothing else may come first. */
	s = space_make_from((const uint8_t[]){0x0e, 16, 0}, at);
	ck_assert_int_eq(walk(s, 0x180, push(TOP, BASE + 0x50), 0), KLP_UNW_BAD_ROW);
	klp_unw_space_free(s);
}
END_TEST

START_TEST(test_link_register)
{
	check_link_register(&(struct link_machine){space_make, walk, push, &trace});
}
END_TEST

START_TEST(test_late_rows)
{
	static const uint32_t late[] = {
	    0x60e2u | C_NOP << 16, /* c.ldsp ra, 24(sp) */
	    0x01813083u,           /* ld ra, 24(sp) */
	    0x6442u | C_NOP << 16, /* c.ldsp s0, 16(sp) */
	    0x6105u | C_NOP << 16, /* c.addi16sp sp, 32 */
	    0x02010113u,           /* addi sp, sp, 32 */
	};
	struct klp_unw_space *s = space_make();
	unsigned w = push(TOP, BASE + 0x50);

	for (unsigned i = 0; i < sizeof(late) / sizeof(late[0]); i++) {
		code[0x404 / 4] = late[i];
		ck_assert_int_eq(walk(s, 0x404, w, 0), KLP_OK);
		/* The frame is gone, its row is not: what it looks for is the caller's. */
		ck_assert_int_eq(walk(s, 0x408, TOP, BASE + 0x50), KLP_UNW_BAD_ROW);
		ck_assert_int_eq(walk(s, 0x404 + 64, TOP, BASE + 0x50), KLP_UNW_BAD_ROW);
	}
	/* What is loaded from elsewhere, and what goes to other registers, is nobody's epilogue. */
	code[0x404 / 4] = 0x0187b083u; /* ld ra, 24(a5) */
	ck_assert_int_eq(walk(s, 0x408, w, 0), KLP_OK);
	code[0x404 / 4] = 0x64a2u | C_NOP << 16; /* c.ldsp s1, 8(sp) */
	ck_assert_int_eq(walk(s, 0x408, w, 0), KLP_OK);
	/* Nor is what a piece of one instruction and a piece of the next look like: c.addi sp, 17. */
	code[0x404 / 4] = 0x4581u | 0x4601u << 16; /* c.li a1, 0; c.li a2, 0 */
	ck_assert_int_eq(walk(s, 0x408, w, 0), KLP_OK);
	klp_unw_space_free(s);
}
END_TEST

START_TEST(test_signal_frame)
{
	struct klp_unw_space *s = space_make();
	unsigned interrupted = push(TOP, BASE + 0x50), frame = interrupted - 1088 / 8 - 2,
		 regs = frame + (128 + 176) / 8;

	/* A leaf was interrupted that the middle function had called; the handler returns to the trampoline. */
	stack[regs] = BASE + 0x210;
	stack[regs + 1] = BASE + 0x150;
	stack[regs + 2] = STACK + interrupted * 8ull;
	ck_assert_int_eq(walk(s, 0x180, push(frame, BASE + 0x504), 0), KLP_OK);
	ck_assert_uint_eq(trace.count, 5);
	ck_assert(trace.frame[1].signal && trace.frame[2].pc == BASE + 0x210 && trace.frame[2].lookup == BASE + 0x210);
	ck_assert_uint_eq(trace.frame[3].pc, BASE + 0x150);
	/* In the trampoline itself. */
	ck_assert_int_eq(walk(s, 0x504, frame, 0), KLP_OK);
	/* A trampoline right behind a function whose last instruction may be a call: it cannot be told which returns
	 * there. */
	ck_assert_int_eq(walk(s, 0x180, push(frame, BASE + 0x700), 0), KLP_UNW_BAD_ROW);
	ck_assert_int_eq(walk(s, 0x700, frame, 0), KLP_OK);
	/* It is one by its code, and not by its rows. */
	code[0x508 / 4] = 0x00100073;
	ck_assert_int_eq(walk(s, 0x504, frame, 0), KLP_UNW_BAD_ROW);
	code[0x508 / 4] = 0x00000073;
	/* A frame that does not fit under the top. */
	ck_assert_int_eq(walk(s, 0x504, TOP - 100, 0), KLP_UNW_OUT_OF_STACK);
	klp_unw_space_free(s);
}
END_TEST

/* clone as glibc has it: the child begins behind the FDE of the system call. */
START_TEST(test_thread_start)
{
	static const uint16_t text[] = {
	    0x0893, 0x0dc0,         /*  0 li a7, 220 */
	    0x0073, 0x0000,         /*  4 ecall */
	    0x4563, 0x0005,         /*  8 bltz a0, 18 */
	    0xc511,                 /* 12 beqz a0, 24 */
	    0x8082, 0x5529, 0x8082, /* 14 ret; li a0, -22; ret */
	    C_NOP,  C_NOP,          /* 20 */
	    0x6582, 0x6522,         /* 24 ld a1, 0(sp); ld a0, 8(sp) */
	    0x9582,                 /* 28 jalr a1 */
	    0x0893, 0x05d0,         /* 30 li a7, 93 */
	    0x0073, 0x0000,         /* 34 ecall */
	};
	uint8_t copy[sizeof(text)];
	const uint32_t clone3 = 0x1b300893, other = 0x1b400893, beqz = 0x00050663, bnez = 0x00051663, jalr = 0x000580e7;

	memcpy(copy, text, sizeof(text));
	ck_assert(klp_unw_riscv64.thread_start(copy, sizeof(copy), BASE, BASE + 24, BASE + 38));
	ck_assert(!klp_unw_riscv64.thread_start(copy, sizeof(copy), BASE, BASE + 30, BASE + 38)); /* calls nothing */
	ck_assert(
	    !klp_unw_riscv64.thread_start(copy, sizeof(copy), BASE, BASE + 26, BASE + 38)); /* nobody comes there */
	ck_assert(!klp_unw_riscv64.thread_start(copy, sizeof(copy), BASE, BASE + 24, BASE + 40));
	memcpy(copy, &clone3, 4);
	ck_assert(klp_unw_riscv64.thread_start(copy, sizeof(copy), BASE, BASE + 24, BASE + 38));
	memcpy(copy, &other, 4);
	ck_assert(!klp_unw_riscv64.thread_start(copy, sizeof(copy), BASE, BASE + 24, BASE + 38));
	memcpy(copy, text, 4);
	memcpy(copy + 12, &beqz, 4);
	memcpy(copy + 26, &jalr, 4);
	ck_assert(klp_unw_riscv64.thread_start(copy, sizeof(copy), BASE, BASE + 24, BASE + 38));
	memcpy(copy + 12, &bnez, 4);
	ck_assert(!klp_unw_riscv64.thread_start(copy, sizeof(copy), BASE, BASE + 24, BASE + 38));
	memcpy(copy, text, sizeof(text));
	copy[28] = 0x82; /* jr a1 */
	copy[29] = 0x85;
	ck_assert(!klp_unw_riscv64.thread_start(copy, sizeof(copy), BASE, BASE + 24, BASE + 38));
}
END_TEST

/*
 * A library with the leaf of its cancellable calls (+0x1000), its one caller (+0x1040, 16 bytes of frame), the two
 * calls of that one (+0x1084, +0x1094), and a program around it (space_make's middle and entry).
 */
#define LIBRARY 0x1000u
static uint16_t library[0x100 / 2];
static const uint16_t cancel_leaf[] = {
    0x2303, 0x0005, 0x7313, 0x0083, /* lw t1, 0(a0); andi t1, t1, 8 */
    0x1d63, 0x0003,                 /* bnez t1, +26 */
    0x8e2e, 0x8532, 0x88f2,         /* mv t3, a1; mv a0, a2; mv a7, t3 */
    0x0073, 0x0000, 0x8082,         /* 18: ecall; 22: ret */
    C_NOP,  C_NOP,
};

static void put_jal(unsigned at, unsigned to, unsigned rd)
{
	uint32_t rel = to - at, v = 0x6f | rd << 7 | (rel & 0xff000) | (rel >> 11 & 1) << 20 |
				    (rel >> 1 & 0x3ff) << 21 | (rel >> 20 & 1) << 31;

	library[at / 2] = (uint16_t)v;
	library[at / 2 + 1] = (uint16_t)(v >> 16);
}

static void library_make(void)
{
	for (unsigned i = 0; i < sizeof(library) / 2; i++)
		library[i] = C_NOP;
	memcpy(library, cancel_leaf, sizeof(cancel_leaf));
	put_jal(0x48, 0, 1);
	put_jal(0x84, 0x40, 1);
	put_jal(0x94, 0x40, 1);
}

static struct klp_unw_space *library_space(bool is_libc)
{
	struct klp_unw_space *s = space_make();
	struct klp_unw_object object = {.text_start = BASE + LIBRARY,
					.text_end = BASE + LIBRARY + sizeof(library),
					.eh_frame = table,
					.eh_frame_addr = 0x20000,
					.libc = is_libc,
					.text = library,
					.text_len = sizeof(library)};
	struct klp_error e = KLP_ERROR_INIT;
	uint32_t end = 0;
	size_t cie;

	table_len = 0;
	cie = put_cie("zR", 1, 1, 2);
	put_fde(cie, BASE + LIBRARY, 0x40, (const uint8_t[]){0}, 1);
	put_fde(cie, BASE + LIBRARY + 0x40, 0x40, (const uint8_t[]){0x44, 0x0e, 16, 0x81, 1}, 5);
	put_fde(cie, BASE + LIBRARY + 0x80, 0x80, (const uint8_t[]){0x42, 0x0e, 16, 0x81, 1}, 5);
	put(&end, 4);
	object.eh_frame_len = table_len;
	ck_assert_msg(klp_unw_add_object(s, &object, &e) >= 0, "%s", e.text);
	return s;
}

/* Blocked in the leaf, which was called by who was called from behind `call`. */
static enum klp_reason blocked_at(struct klp_unw_space *s, uint32_t pc, uint64_t call)
{
	unsigned w = push(TOP, BASE + 0x50) - 2;

	stack[w + 1] = BASE + 0x150; /* of the outer function: to middle */
	w -= 2;
	stack[w + 1] = call;
	return walk(s, pc, w, 0);
}

static enum klp_reason blocked(bool is_libc)
{
	struct klp_unw_space *s = library_space(is_libc);
	enum klp_reason rc = blocked_at(s, LIBRARY + 22, BASE + LIBRARY + 0x88);

	klp_unw_space_free(s);
	return rc;
}

START_TEST(test_cancellable_calls)
{
	struct klp_unw_space *s;

	library_make();
	s = library_space(true);
	ck_assert_int_eq(blocked_at(s, LIBRARY + 22, BASE + LIBRARY + 0x88), KLP_OK);
	ck_assert_uint_eq(trace.count, 5);
	ck_assert(trace.frame[1].pc == BASE + LIBRARY + 0x4c && trace.frame[2].pc == BASE + LIBRARY + 0x88 &&
		  trace.frame[3].pc == BASE + 0x150);
	ck_assert_int_eq(blocked_at(s, LIBRARY + 22, BASE + LIBRARY + 0x98), KLP_OK);
	/* Elsewhere in the leaf nobody blocks; a stack that does not agree; a call that is none of the caller. */
	ck_assert_int_eq(blocked_at(s, LIBRARY + 18, BASE + LIBRARY + 0x88), KLP_UNW_REG_UNKNOWN);
	ck_assert_int_eq(blocked_at(s, LIBRARY + 22, BASE + LIBRARY + 0xa8), KLP_UNW_REG_UNKNOWN);
	ck_assert_int_eq(blocked_at(s, LIBRARY + 22, BASE + 0x150), KLP_UNW_REG_UNKNOWN);
	klp_unw_space_free(s);
	ck_assert_int_eq(blocked(true), KLP_OK);
	ck_assert_int_eq(blocked(false), KLP_UNW_REG_UNKNOWN);
	/* Another call of it, a jump to it, none. */
	put_jal(0xc0, 0, 1);
	ck_assert_int_eq(blocked(true), KLP_UNW_REG_UNKNOWN);
	put_jal(0xc0, 0, 0);
	ck_assert_int_eq(blocked(true), KLP_UNW_REG_UNKNOWN);
	library_make();
	put_jal(0x48, 4, 1);
	ck_assert_int_eq(blocked(true), KLP_UNW_REG_UNKNOWN);
	/* The caller is reached by a jump: who it returns to is not told by calls. */
	library_make();
	put_jal(0xc0, 0x40, 0);
	ck_assert_int_eq(blocked(true), KLP_UNW_REG_UNKNOWN);
	/* More calls of the caller than are kept. */
	library_make();
	for (unsigned i = 0; i < KLP_UNW_LEAF_CALLERS; i++)
		put_jal(0x98 + i * 4, 0x40, 1);
	ck_assert_int_eq(blocked(true), KLP_UNW_REG_UNKNOWN);
}
END_TEST

/* What changes sp or ra, jumps, calls or does not return is no such leaf; nor is one beside another. */
START_TEST(test_no_leaf)
{
	static const struct {
		unsigned at;
		uint32_t insn;
	} wrong[] = {
	    {0, 0x0005b303},  /* ld t1, 0(a1) */
	    {4, 0x00832083},  /* lw ra, 8(t1) */
	    {4, 0xff010113},  /* addi sp, sp, -16 */
	    {4, 0x00113423},  /* sd ra, 8(sp) */
	    {4, 0x000300e7},  /* jalr t1 */
	    {4, 0x01c0006f},  /* j */
	    {12, 0x85328096}, /* mv ra, t0 */
	    {12, 0x85321141}, /* addi sp, sp, -16 */
	    {12, 0x85329302}, /* jalr t1 */
	    {18, 0x00100073}, /* ebreak */
	    {22, 0x00010001}, /* it goes on behind the call */
	};
	struct klp_unw_space *s;

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		library_make();
		memcpy((uint8_t *)library + wrong[i].at, &wrong[i].insn, 4);
		ck_assert_msg(blocked(true) == KLP_UNW_REG_UNKNOWN, "%u", i);
	}
	library_make();
	memcpy(library + 0x80 / 2, cancel_leaf, sizeof(cancel_leaf)); /* in the place of the outer function */
	put_jal(0xc4, 0x40, 1);
	s = library_space(true);
	ck_assert_int_eq(blocked_at(s, LIBRARY + 22, BASE + LIBRARY + 0xc8), KLP_UNW_REG_UNKNOWN);
	klp_unw_space_free(s);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("unwind");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_short_instructions);
	tcase_add_test(tc, test_long_instructions);
	tcase_add_test(tc, test_cie_of_gas);
	tcase_add_test(tc, test_link_register);
	tcase_add_test(tc, test_late_rows);
	tcase_add_test(tc, test_signal_frame);
	tcase_add_test(tc, test_thread_start);
	tcase_add_test(tc, test_cancellable_calls);
	tcase_add_test(tc, test_no_leaf);
	return tables_main("riscv64 unwind", tc);
}
