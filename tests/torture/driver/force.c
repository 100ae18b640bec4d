/* SPDX-License-Identifier: Apache-2.0 */
/*
 * klpctl force ends a transition that waits for threads. Those, and nobody else, may mix versions from then on, until
 * they have left the functions that they were in. What was forced is never given back.
 */
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t harm[TORTURE_WORKERS];

static bool is_text(const char *maps, uint64_t at)
{
	for (const char *line = maps; line && *line; line = strchr(line, '\n')) {
		uint64_t from, to;
		char perms[5];

		line += *line == '\n';
		if (sscanf(line, "%lx-%lx %4s", &from, &to, perms) == 3 && from <= at && at < to && perms[2] == 'x')
			return true;
	}
	return false;
}

void force_check_memory(void)
{
	char *maps = target_maps();

	for (unsigned i = 0; i < torture.forced_count; i++)
		if (!is_text(maps, torture.forced[i]))
			fail("what was forced is not mapped any more at 0x%lx", torture.forced[i]);
	free(maps);
}

/* A transition that waits, by a thread that is kept inside or by tools that are killed or out of time. */
static void make_pending(const struct module *m, bool load, bool *killed)
{
	unsigned n = 1 + (unsigned)draw(3);
	int group = strchr(torture.kinds, 'h') && draw(2) ? draw_held_group(m, load) : -1;

	*killed = false;
	if (group >= 0)
		target_hold(group);
	for (unsigned i = 0; i < n; i++) {
		char timeout[16];
		struct tool t;
		int rc;

		snprintf(timeout, sizeof(timeout), "0.%03u", 1 + (unsigned)draw(20));
		tool_toggle(&t, m, load, timeout);
		if (draw(3) == 0)
			tool_kill(&t, draw_instant());
		*killed = t.killed;
		rc = tool_wait(&t);
		if (rc && rc != 5 && !t.killed)
			unexpected(&t, rc);
		torture.pending_exits += rc == 5;
		tool_close(&t);
		if (draw(4) == 0)
			load = !load;
	}
}

static struct patch *patch_at(uint64_t text)
{
	for (unsigned i = 0; i < torture.patches; i++)
		if (torture.patch[i].text == text)
			return &torture.patch[i];
	return NULL;
}

static void check_forced(const struct module *m, uint64_t text, bool patching)
{
	const struct patch *p;

	model_read();
	p = patch_at(text);
	if (!p || !p->forced || p->in_transition || strcmp(p->state, patching ? "enabled" : "disabled"))
		fail("'%s' was forced while %s: %s, %s", m->name, patching ? "enabling" : "disabling",
		     p ? p->state : "it is not there", p && p->forced ? "forced" : "not forced");
}

static bool may_mix(const struct torture_worker *w)
{
	for (unsigned i = 0; i < torture.pendings; i++)
		if (torture.pending[i] == w->tid)
			return true;
	return !torture.pending_known || w->kind == KIND_BORN; /* those are others all the time */
}

/* Ends when every thread has been outside of all functions. */
static void end_mixing(bool forced, const bool *mixes)
{
	struct torture_shared *s = torture.shared;
	uint32_t mode = s->mode;

	target_mode(TORTURE_PARK);
	for (unsigned i = 0; i < TORTURE_WORKERS; i++)
		if (s->worker[i].harm != harm[i] && !(forced && mixes[i]))
			fail("thread %u (kind %u) has mixed versions, and no force left it behind", s->worker[i].tid,
			     s->worker[i].kind);
	torture.mixed_by_force = s->mixed;
	torture.wrong_by_force = s->wrong;
	s->reported = 0;
	torture.forcing = false;
	target_mode(mode);
}

/* The tool, and whether it may have forced. */
static bool force(const struct module *m, uint64_t text, bool patching, bool killed_before)
{
	bool forced = true;
	char pid[16];
	struct tool t;
	int rc;

	snprintf(pid, sizeof(pid), "%d", torture.pid);
	tool_start(&t, "force", "-v", "--json", "-p", pid, m->name, NULL);
	if (draw(3) == 0)
		tool_kill(&t, draw_instant());
	rc = tool_wait(&t);
	/* What a killed tool had posted may have ended the transition first. */
	forced = !(rc == 4 && killed_before && !strcmp(tool_result(&t, "reason"), "NOT_LOADED"));
	if (rc && rc != 5 && !t.killed && forced)
		unexpected(&t, rc);
	if (!rc) {
		check_forced(m, text, patching);
		torture.forces++;
	}
	tool_close(&t);
	return forced;
}

static void refused(const struct module *m)
{
	char pid[16];
	struct tool t;

	snprintf(pid, sizeof(pid), "%d", torture.pid);
	tool_start(&t, "force", "-v", "--json", "-p", pid, m->name, NULL);
	if (tool_wait(&t) != 4 || strcmp(tool_result(&t, "reason"), "NOT_LOADED"))
		unexpected(&t, tool_wait(&t));
	tool_close(&t);
}

/* What status says of the patch that was to be forced, now that nothing is in flight. */
static void remember(uint64_t text)
{
	const struct patch *p = patch_at(text);

	if (p && p->forced)
		torture.forced[torture.forced_count++] = text;
}

void act_force(void)
{
	const struct module *m = any_module(), *moving;
	bool patching = false, killed, forced, mixes[TORTURE_WORKERS];
	uint32_t mode = torture.shared->mode;
	uint64_t text = 0;

	make_pending(m, !model_has(m), &killed);
	model_read();
	moving = model_transition(&patching);
	if (!moving) {
		refused(m);
		target_hold(-1);
		model_settle();
		return;
	}
	for (unsigned i = 0; i < TORTURE_WORKERS; i++) {
		harm[i] = torture.shared->worker[i].harm;
		mixes[i] = may_mix(&torture.shared->worker[i]);
	}
	for (unsigned i = 0; i < torture.patches; i++)
		if (torture.patch[i].in_transition)
			text = torture.patch[i].text;
	torture.forcing = true;
	forced = force(moving, text, patching, killed);
	target_hold(-1);
	model_settle();
	end_mixing(forced, mixes);
	remember(text);
	force_check_memory();
	if (torture.forced_count == FORCED_MAX) {
		life_end();
		life_begin();
		target_mode(mode);
	}
}
