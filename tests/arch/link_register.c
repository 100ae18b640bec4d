/* SPDX-License-Identifier: Apache-2.0 */
#include "link_register.h"

#include "tables.h"

void check_link_register(const struct link_machine *m)
{
	struct klp_unw_space *s = m->space();
	unsigned w = m->push(STACK_WORDS, BASE + 0x50);

	ck_assert_int_eq(m->walk(s, 0x180, w, 0), KLP_OK);
	ck_assert_uint_eq(m->trace->count, 2);
	ck_assert_uint_eq(m->trace->frame[1].cfa, STACK + sizeof(stack));
	/* A leaf returns to its link register, and is not reliable where that is not known. */
	ck_assert_int_eq(m->walk(s, 0x210, w, BASE + 0x150), KLP_OK);
	ck_assert_uint_eq(m->trace->count, 3);
	ck_assert_uint_eq(m->trace->frame[1].pc, BASE + 0x150);
	ck_assert_int_eq(m->walk(s, 0x210, w, 0), KLP_UNW_REG_UNKNOWN);
	/* Before the frame exists the middle one is a leaf too. */
	ck_assert_int_eq(m->walk(s, 0x100, STACK_WORDS, BASE + 0x50), KLP_OK);
	ck_assert_uint_eq(m->trace->count, 2);
	/* Who has called has saved what it returns to: a leaf in the middle of a stack is none. */
	ck_assert_int_eq(m->walk(s, 0x180, m->push(w, BASE + 0x220), BASE + 0x50), KLP_UNW_NOT_MONOTONIC);
	ck_assert_uint_eq(m->trace->frame_no, 1);
	ck_assert_int_eq(m->walk(s, 0x180, m->push(w, BASE + 0x620), BASE + 0x50), KLP_UNW_REG_UNKNOWN);
	ck_assert_uint_eq(m->trace->frame_no, 1);
	ck_assert_int_eq(m->walk(s, 0x620, w, BASE + 0x50), KLP_OK);
	klp_unw_space_free(s);
}
