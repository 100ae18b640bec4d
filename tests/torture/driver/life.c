/* SPDX-License-Identifier: Apache-2.0 */
/* One process of the target: a forced patch stays in it for ever, so that a run with forces needs several. */
#include "driver.h"

#include <stdlib.h>
#include <string.h>

#define GIVE_BACK_TRIES 12

static char *before; /* the mappings without klp */
static uint64_t text;

void life_begin(void)
{
	target_start();
	for (unsigned i = 0; i < MODULES; i++)
		torture.module[i].opening = 0;
	/* All kinds have run before the mappings are taken. */
	target_plugin(PLUGIN_COMES_AND_GOES, false);
	target_mode(TORTURE_STORM);
	target_progress();
	target_plugin(PLUGIN_CLOSED, true);
	target_mode(TORTURE_PARK);
	before = target_maps();
	text = target_text(before);
	model_read();
	model_settled();
}

/* Every mapping that there was is there as it was. */
static void check_kept(const char *after)
{
	char *list = strdup(before), *save = NULL;

	for (char *line = strtok_r(list, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (!strstr(after, line))
			fail("the mapping '%s' is not there any more:\n%s", line, after);
	free(list);
}

static void check_maps(void)
{
	char *after = target_maps();

	if (torture.forced_count)
		check_kept(after);
	else if (strcmp(before, after))
		fail("mappings before:\n%s\nafter:\n%s", before, after);
	free(after);
}

/*
 * An unload may end with threads that could not be seen outside of klp's memory: the next one gives the rest back.
 * After a force no patch in status tells that there is a rest.
 */
static void give_back_rest(void)
{
	bool done = torture.patches == 0;

	for (unsigned i = 0; i < GIVE_BACK_TRIES && !done; i++) {
		struct tool t;
		int rc;

		tool_toggle(&t, torture.patch[0].m, false, "20");
		rc = tool_wait(&t);
		if (rc && rc != 5)
			unexpected(&t, rc);
		done = !rc && tool_number(&t, "threads_in_memory") == 0;
		tool_close(&t);
	}
	if (!done)
		fail("threads are in klp's memory after %u unloads", GIVE_BACK_TRIES);
}

void life_end(void)
{
	unload_all();
	give_back_rest();
	model_settled();
	model_check(true);
	target_progress();
	target_plugin(PLUGIN_CLOSED, true);
	target_mode(TORTURE_PARK);
	target_check();
	if (model_live() || (torture.runtime && !torture.forced_count))
		fail("%u patches%s left", model_live(), torture.runtime ? " and the runtime" : "");
	force_check_memory();
	check_maps();
	if (text != target_text(before))
		fail("the text is not what it was");
	free(before);
	target_stop();
	torture.forced_count = 0;
}
