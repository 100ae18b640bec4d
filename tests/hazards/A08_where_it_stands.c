/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard A8: where a thread stands when it counts as inside. A function being left is left behind its last byte and not
 * behind its site: a thread at entry + 1 goes on in the old body. In a prefix, in a stub and in klp's own image nobody
 * is ever taken for clean. usage: A08_where_it_stands TARGET MODULE
 */
#include <string.h>

#include "klp/arming.h"
#include "klp/machine.h"
#include "klp/plan.h"
#include "klp/proof.h"
#include "klp/transition.h"
#include "on_target.h"

static struct klp_session session;
static struct klp_range *left; /* of the patched function's original */
static size_t left_count;
static uint64_t sp;

/* At this PC, interrupted or behind a call. */
static enum klp_reason at(uint64_t pc, bool called)
{
	static struct klp_proof proof;
	struct klp_unw_regs regs = {.pc = pc, .known = 1ull << KLP_DWARF_SP, .called = called};

	regs.r[KLP_DWARF_SP] = sp;
	klp_prove_registers(&session, session.p.pid, &regs, 0, left, left_count, &proof);
	return proof.verdict;
}

static void expect_all(const char *what, uint64_t start, uint64_t end, enum klp_reason want)
{
	for (uint64_t pc = start; pc < end; pc++)
		for (int called = 0; called < 2; called++) {
			enum klp_reason got = at(pc + (uint64_t)called, called);

			check(got == want, "%s, byte %lu of %lu%s: %s, expected %s", what, pc - start, end - start,
			      called ? ", behind a call" : "", klp_reason_name(got), klp_reason_name(want));
			if (got != want)
				return;
		}
}

/* What a load of the patch would have threads leave; and a stack pointer to walk from. */
static bool look(void)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_patch *p = klp_patch_find(&session, "fix");
	struct klp_task_syscall waits = {0};
	int rc = p ? klp_transition_ranges(&session, p, KLP_TRANSITION_LOAD, 0, &left, &left_count, &e) : -1;

	if (!rc)
		rc = klp_tables_build(&session, &e);
	if (!rc)
		rc = klp_task_syscall(&session.p, session.p.pid, &waits, &e);
	sp = waits.sp;
	check(!rc && sp, "the patched target cannot be looked at: %s", e.text);
	return !rc && sp;
}

static void check_places(void)
{
	const struct klp_module_function *fn = klp_patch_function(klp_patch_find(&session, "fix"), 0);
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_site_set sites;
	uint64_t entry, stubs;

	check(!klp_sites_read(&session, &sites, &e) && sites.count == 1, "not one site: %s", e.text);
	entry = sites.site[0].rt.entry;
	stubs = session.cb->arenas[sites.site[0].arena] - KLP_ARENA_STUBS_SIZE;
	expect_all("the function that is left", entry, entry + fn->size, KLP_ON_STACK);
	check(at(entry + fn->size, false) != KLP_ON_STACK, "it does not end behind its last byte");
	expect_all("the prefix", sites.site[0].rt.prefix, entry, KLP_UNW_IN_TRAMPOLINE);
	expect_all("the stubs", stubs, stubs + KLP_ARENA_STUBS_SIZE, KLP_UNW_IN_TRAMPOLINE);
	expect_all("the image", session.r.image, session.r.image + KLP_RT_TEXT_SIZE, KLP_UNW_IN_TRAMPOLINE);
	klp_site_set_free(&sites);
}

int main(int argc, char **argv)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_options opt = {0};
	struct on_target t = {0};
	json_t *result = NULL;
	int rc = on_target_begin(argc, argv, &t);

	if (rc)
		return rc;
	check(!klp_load(t.pid, t.module, &opt, &result, &e), "load: %s", e.text);
	json_decref(result);
	check(!klp_session_open(&session, t.pid, KLP_SESSION_READ, &opt, &e), "%s", e.text);
	if (look())
		check_places();
	free(left);
	klp_session_close(&session);
	return on_target_end(&t);
}
