/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plug-in comes and goes while tools work on its patches and on others. What klp promises of it (docs/safety.md,
 * "Objects that come and go"): an object that comes is as its file has it until a load, klpctl watch's or another, and
 * what was loaded for one that went can be unloaded, and only that; until then status says that its sites are gone.
 */
#include "driver.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define WATCH_HANG_S 30

static const struct module *plugin_module(void)
{
	const struct module *m;

	do {
		m = &torture.module[draw(MODULES)];
	} while (!m->version[TORTURE_P]);
	return m;
}

/* Another patch's transition is in flight, or the plug-in is not there, is another one, or has moved under the tool. */
static bool is_refused(const struct tool *t, int rc, const struct module *m, bool load, bool moved)
{
	const char *reason = tool_result(t, "reason");

	if (rc == 4 && !strcmp(reason, "BUSY"))
		return true;
	/* It has come to what another patch of the plug-in has left there to be given back. */
	if (moved && rc == 4 && !strcmp(reason, "TARGET_MEMORY"))
		return true;
	if (!m->version[TORTURE_P])
		return false;
	if (moved && rc == 4 &&
	    (!strcmp(reason, "SITE_TAKEN") || !strcmp(reason, "UNSUPPORTED") || !strcmp(reason, "BAD_FUNCTION")))
		return true;
	return load && (rc == 3 || (rc == 4 && !strcmp(reason, "EXISTS")));
}

static void tool_under(const struct module *m, bool load)
{
	static const char *const timeout[] = {"0.005", "0.05", "20"};
	uint32_t phase;
	struct tool t;
	bool moved;
	int rc;

	target_plugin((enum torture_plugin)draw(3), draw(2));
	phase = target_plugin_phase();
	tool_toggle(&t, m, load, timeout[draw(3)]);
	if (draw(2)) {
		sleep_us(draw(8000));
		target_plugin((enum torture_plugin)draw(3), false);
	}
	if (draw(3) == 0)
		tool_kill(&t, draw_instant());
	rc = tool_wait(&t);
	moved = phase != target_plugin_phase();
	if (torture.verbose && rc)
		say("%s: %d %s\n", t.command, rc, tool_result(&t, "message"));
	if (rc && rc != 5 && !t.killed && !is_refused(&t, rc, m, load, moved))
		unexpected(&t, rc);
	torture.moved_under += moved;
	if (!moved && !rc && load && m->version[TORTURE_P] && phase % PHASE_COUNT == PHASE_OPEN)
		torture.module[m - torture.module].opening = phase;
	torture.pending_exits += rc == 5;
	tool_close(&t);
	target_check();
}

/* Until the watch has done what is to be done for the plug-in as it is now. */
static void await(const struct tool *t, const struct module *m, bool open)
{
	uint64_t until = now_ns() + WATCH_HANG_S * 1000000000ull;
	bool patching;

	for (;;) {
		if (model_try() && !model_transition(&patching) && model_has(m) == open && !model_has_gone())
			return;
		target_check();
		if (now_ns() > until) {
			tool_said(t);
			fail("klpctl watch has not %s '%s'", open ? "loaded" : "unloaded", m->name);
		}
		sleep_us(5000);
	}
}

static void act_watch(void)
{
	const struct module *m = plugin_module();
	bool open = draw(4), killed = draw(4) == 0;
	char pid[16];
	struct tool t;

	for (unsigned i = 0; i < MODULES; i++)
		if (torture.module[i].version[TORTURE_P] && model_has(&torture.module[i]))
			finish(&torture.module[i], false);
	snprintf(pid, sizeof(pid), "%d", torture.pid);
	target_plugin(PLUGIN_COMES_AND_GOES, false);
	tool_start(&t, "watch", "-v", "--json", "-p", pid, "--interval", draw(2) ? "0.01" : "0.05", m->file, NULL);
	t.lines = true;
	torture.watches++;
	sleep_us(draw(400000));
	if (killed) {
		tool_kill(&t, 0);
	} else {
		target_plugin(open ? PLUGIN_OPEN : PLUGIN_CLOSED, true);
		await(&t, m, open);
		kill(t.pid, SIGTERM);
		if (tool_wait(&t))
			unexpected(&t, tool_wait(&t));
	}
	tool_close(&t);
}

void act_plugin(void)
{
	unsigned n = 1 + (unsigned)draw(4);

	if (draw(5) == 0) {
		act_watch();
	} else {
		for (unsigned i = 0; i < n; i++) {
			const struct module *m = draw(4) ? plugin_module() : &torture.module[draw(MODULES)];

			tool_under(m, draw(4) ? !model_has(m) : model_has(m));
		}
	}
	target_plugin(draw(3) ? PLUGIN_OPEN : PLUGIN_CLOSED, true);
	model_settle();
}
