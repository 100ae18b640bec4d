/* SPDX-License-Identifier: Apache-2.0 */
/* Which function a call site calls, and which functions code may jump to, in this process's own text. */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "klp/callsite.h"

#define LABEL(name) extern const uint8_t name[]
LABEL(callee);
LABEL(close_callee);
LABEL(ret_direct);
LABEL(ret_other);
LABEL(ret_plt);
LABEL(ret_plt_endbr);
LABEL(ret_plt_bnd);
LABEL(ret_register);
LABEL(ret_memory);
LABEL(ret_constant);
LABEL(ret_variable);
LABEL(ret_addr32);

static struct klp_process self;

START_TEST(calls)
{
	const struct {
		const uint8_t *ret;
		bool is;
	} site[] = {
	    {ret_direct, true},    {ret_other, false},    {ret_plt, true},     {ret_plt_endbr, true},
	    {ret_plt_bnd, true},   {ret_register, false}, {ret_memory, false}, {ret_constant, true},
	    {ret_variable, false}, {ret_addr32, true},
	};

	for (size_t i = 0; i < sizeof(site) / sizeof(site[0]); i++)
		ck_assert_msg(klp_call_is_of(&self, (uintptr_t)site[i].ret, (uintptr_t)callee) == site[i].is,
			      "site %zu", i);
	/* Nothing is there, or nothing that can be read. */
	ck_assert(!klp_call_is_of(&self, 0, (uintptr_t)callee));
	ck_assert(!klp_call_is_of(&self, 4096, (uintptr_t)callee));
	ck_assert(!klp_call_is_of(&self, UINT64_MAX, (uintptr_t)callee));
}
END_TEST

static void reach(const uint8_t *code, const uint8_t *end, bool callee_reached, bool close_reached)
{
	uint64_t entry[2] = {(uintptr_t)callee, (uintptr_t)close_callee};
	bool reached[2] = {false, false};

	klp_jumps_reach(&self, code, (size_t)(end - code), (uintptr_t)code, entry, reached, 2);
	ck_assert_int_eq(reached[0], callee_reached);
	ck_assert_int_eq(reached[1], close_reached);
}
#define REACH(name, a, b)                                  \
	do {                                               \
		extern const uint8_t name[], name##_end[]; \
		reach(name, name##_end, a, b);             \
	} while (0)

START_TEST(jumps)
{
	REACH(jumps_near, true, false);
	REACH(jumps_if, true, false);
	REACH(jumps_plt, true, false);
	REACH(jumps_register, true, true);
	REACH(jumps_high_register, true, true);
	REACH(jumps_table, true, true);
	REACH(jumps_other, false, false);
	REACH(jumps_inside, false, false);
	REACH(calls_only, false, false);
	REACH(jumps_short, false, true);
	REACH(jumps_short_if, false, true);
}
END_TEST

int main(void)
{
	struct klp_error e = KLP_ERROR_INIT;
	Suite *s = suite_create("callsite");
	TCase *t = tcase_create("callsite");
	SRunner *r;
	int failed;

	if (klp_process_open(getpid(), &self, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	tcase_add_test(t, calls);
	tcase_add_test(t, jumps);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_set_fork_status(r, CK_NOFORK); /* it reads its own memory, by its own pid */
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	klp_process_close(&self);
	return failed ? 1 : 0;
}
