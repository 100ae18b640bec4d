/* SPDX-License-Identifier: Apache-2.0 */
/* What a step does. Each begins and ends without a transition in flight. */
#include "driver.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define HOLD_TRIES 40

const char *action_name(enum action a)
{
	static const char *const name[ACTIONS] = {"toggle", "replace", "kill",   "short", "hold",
						  "two",    "look",    "plugin", "force"};

	return name[a];
}

/* A patch of the plug-in only while that is open, and none of a former opening is in the way. */
const struct module *any_module(void)
{
	const struct module *m;
	bool open = target_plugin_phase() % PHASE_COUNT == PHASE_OPEN && !model_has_gone();

	do {
		m = &torture.module[draw(MODULES)];
	} while (m->version[TORTURE_P] && !open);
	return m;
}

void unexpected(const struct tool *t, int rc)
{
	fail("klpctl %s: exit code %d (%s: %s)", t->command, rc, tool_result(t, "reason"), tool_result(t, "message"));
}

void finish(const struct module *m, bool load)
{
	struct tool t;
	int rc;

	tool_toggle(&t, m, load, "20");
	rc = tool_wait(&t);
	if (rc && rc != 5)
		unexpected(&t, rc);
	torture.pending_exits += rc == 5;
	tool_close(&t);
	model_settle();
	if (!rc && model_has(m) != load)
		fail("'%s' is%s enabled after its %s", m->name, load ? " not" : "", load ? "load" : "unload");
}

static void act_toggle(void)
{
	const struct module *m = any_module();

	finish(m, !model_has(m));
}

static void act_replace(void)
{
	const struct module *m = any_module();
	char pid[16];
	struct tool t;
	int rc;

	if (model_has(m))
		finish(m, false);
	snprintf(pid, sizeof(pid), "%d", torture.pid);
	tool_start(&t, "load", "-v", "--json", "--replace", "-p", pid, "--timeout", "20", m->file, NULL);
	if (draw(4) == 0) {
		tool_kill(&t, draw(20000));
		tool_close(&t);
		model_settle();
		return;
	}
	rc = tool_wait(&t);
	if (rc && rc != 5)
		unexpected(&t, rc);
	tool_close(&t);
	model_settle();
	if (!rc)
		for (unsigned i = 0; i < torture.patches; i++)
			if (!model_is_remains(&torture.patch[i]) &&
			    !strcmp(torture.patch[i].state, "enabled") != (torture.patch[i].m == m))
				fail("after --replace of '%s', '%s' is %s", m->name, torture.patch[i].m->name,
				     torture.patch[i].state);
}

uint64_t draw_instant(void)
{
	static const uint64_t within[] = {3000, 12000, 40000, 250000};

	return draw(within[draw(torture.shared->mode == TORTURE_STORM ? 4 : 3)]);
}

/* Kills in a row, in either direction, then the next tool resumes or reverses. */
static void act_kill(void)
{
	const struct module *m = any_module();
	bool load = !model_has(m);
	unsigned n = 1 + (unsigned)draw(3);

	for (unsigned i = 0; i < n; i++) {
		struct tool t;

		tool_toggle(&t, m, load, "20");
		tool_kill(&t, draw_instant());
		if (WIFEXITED(t.status) && WEXITSTATUS(t.status) && WEXITSTATUS(t.status) != 5)
			unexpected(&t, WEXITSTATUS(t.status));
		tool_close(&t);
		target_check();
		if (draw(2))
			load = !load;
	}
	if (draw(2)) {
		finish(m, load);
	} else {
		model_settle();
	}
}

/* Timeouts so short that the transition stays, then the same or the opposite command. */
static void act_short(void)
{
	const struct module *m = any_module();
	bool load = !model_has(m);
	unsigned n = 1 + (unsigned)draw(5);

	for (unsigned i = 0; i < n; i++) {
		char timeout[16];
		struct tool t;
		int rc;

		snprintf(timeout, sizeof(timeout), "0.%03u", 1 + (unsigned)draw(30));
		tool_toggle(&t, m, load, timeout);
		rc = tool_wait(&t);
		if (rc && rc != 5)
			unexpected(&t, rc);
		torture.pending_exits += rc == 5;
		tool_close(&t);
		target_check();
		if (draw(2))
			load = !load;
	}
	finish(m, load);
}

static void check_holder(const json_t *pending, uint32_t holder, unsigned group)
{
	const json_t *p = json_array_get(pending, 0);
	const char *function = json_string_value(json_object_get(p, "function"));

	if ((uint32_t)json_integer_value(json_object_get(p, "tid")) != holder || !function ||
	    strncmp(function, (const char *[]){"a_", "b_", "c_", "l_", "p_"}[group], 2) ||
	    strcmp(json_string_value(json_object_get(p, "reason")), "ON_STACK"))
		fail("pending: %s instead of the holder %u", json_dumps(pending, 0), holder);
}

/* klpctl status, which no tool runs beside, names the holder and nobody else. */
static void check_status(uint32_t holder, unsigned group)
{
	const json_t *patch, *transition, *pending = NULL;
	struct tool t;
	char pid[16];
	size_t i;

	snprintf(pid, sizeof(pid), "%d", torture.pid);
	tool_start(&t, "status", "--json", "-p", pid, NULL);
	if (tool_wait(&t))
		unexpected(&t, -1);
	json_array_foreach(json_object_get(json_array_get(json_object_get(t.json, "processes"), 0), "patches"), i,
			   patch)
	{
		transition = json_object_get(patch, "transition");
		if (json_is_object(transition))
			pending = json_object_get(transition, "pending");
	}
	if (json_array_size(pending) != 1)
		fail("status: %s, only the holder %u has not moved", json_dumps(t.json, 0), holder);
	check_holder(pending, holder, group);
	tool_close(&t);
}

int draw_held_group(const struct module *m, bool load)
{
	unsigned first = (unsigned)draw(TORTURE_RESIDENT);

	for (unsigned i = 0; i < TORTURE_RESIDENT; i++) {
		unsigned group = (first + i) % TORTURE_RESIDENT;

		/* Nobody is in one that lies below another. */
		if (m->version[group] && (load || model_version(group) == m->version[group]))
			return (int)group;
	}
	return -1;
}

/* C02: one thread stays inside the function that is being left; the others go over, and status names it. */
static void act_hold(void)
{
	const struct module *m = any_module(), *other = any_module();
	uint64_t before[TORTURE_WORKERS];
	bool load = !model_has(m), only = false;
	int group = draw_held_group(m, load);
	unsigned version;
	uint32_t holder = 0;
	struct tool t;
	int rc;

	while (other == m)
		other = any_module();
	if (group < 0) {
		finish(m, load);
		return;
	}
	version = model_version((unsigned)group);
	for (unsigned i = 0; i < TORTURE_WORKERS; i++)
		if (torture.shared->worker[i].kind == KIND_HOLD)
			holder = torture.shared->worker[i].tid;
	target_hold(group);
	for (unsigned i = 0; i < HOLD_TRIES && !only; i++) {
		const json_t *pending;

		tool_toggle(&t, m, load, i ? "2" : "0.05");
		rc = tool_wait(&t);
		if (rc != 5)
			unexpected(&t, rc);
		torture.pending_exits++;
		pending = json_object_get(json_array_get(json_object_get(t.json, "processes"), 0), "pending");
		only = json_array_size(pending) == 1;
		if (only)
			check_holder(pending, holder, (unsigned)group);
		tool_close(&t);
	}
	if (!only)
		fail("more threads than the holder stay pending");
	check_status(holder, (unsigned)group);
	torture.holds++;
	/* Whoever is not the holder has left the old version. */
	for (unsigned i = 0; i < TORTURE_WORKERS; i++)
		before[i] = torture.shared->worker[i].calls[group][version];
	tool_toggle(&t, other, !model_has(other), "5");
	rc = tool_wait(&t);
	if (rc != 4 || strcmp(tool_result(&t, "reason"), "BUSY"))
		unexpected(&t, rc);
	torture.busy_exits++;
	tool_close(&t);
	for (unsigned i = 0; i < TORTURE_WORKERS; i++)
		if (torture.shared->worker[i].calls[group][version] != before[i])
			fail("thread %u (kind %u) called version %u, of all threads only %u has not left it",
			     torture.shared->worker[i].tid, torture.shared->worker[i].kind, version, holder);
	target_check();
	switch (draw(3)) {
	case 0: /* the holder goes on, and over */
		target_hold(-1);
		finish(m, load);
		break;
	case 1: /* reversed under it */
		finish(m, !load);
		target_hold(-1);
		break;
	default: /* reversed and reversed again */
		for (unsigned i = 0; i < 3; i++) {
			tool_toggle(&t, m, i & 1 ? load : !load, "0.002");
			rc = tool_wait(&t);
			if (rc && rc != 5)
				unexpected(&t, rc);
			tool_close(&t);
		}
		target_hold(-1);
		model_settle();
		break;
	}
}

static void start_look(struct tool *t)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", torture.pid);
	torture.looks++;
	switch (draw(4)) {
	case 0:
		tool_start(t, "status", "--json", "-p", pid, NULL);
		break;
	case 1:
		tool_start(t, "check", "--json", "-p", pid, any_module()->file, NULL);
		break;
	case 2:
		tool_start(t, "stack", "--json", "-p", pid, NULL);
		break;
	default:
		tool_start(t, "sites", "--json", "-p", pid, NULL);
		break;
	}
}

/* Several tools at once: each ends as if it had been alone, or says BUSY. */
static void act_two(void)
{
	const struct module *m[3];
	unsigned n = 2 + (unsigned)draw(2);
	struct tool t[3];

	for (unsigned i = 0; i < n; i++) {
		m[i] = any_module();
		tool_toggle(&t[i], m[i], draw(4) ? !model_has(m[i]) : model_has(m[i]), "20");
		sleep_us(draw(draw(2) ? 300 : 8000));
	}
	if (draw(3) == 0)
		tool_kill(&t[draw(n)], draw_instant());
	for (unsigned i = 0; i < n; i++) {
		int rc = tool_wait(&t[i]);
		bool busy = rc == 4 && !strcmp(tool_result(&t[i], "reason"), "BUSY");

		if (rc && rc != 5 && !busy && !t[i].killed)
			unexpected(&t[i], rc);
		torture.busy_exits += busy;
		torture.pending_exits += rc == 5;
		tool_close(&t[i]);
	}
	model_settle();
}

/* Looks alone, or at a tool's work, and some of them are killed. */
static void act_look(void)
{
	bool beside = draw(2);
	struct tool t, look;
	int rc;

	if (beside) {
		const struct module *m = any_module();

		tool_toggle(&t, m, !model_has(m), "20");
		sleep_us(draw(10000));
	}
	for (unsigned i = 0; i < 3; i++) {
		start_look(&look);
		if (draw(4) == 0)
			tool_kill(&look, draw(5000));
		rc = tool_wait(&look);
		/* check refuses what is loaded already; beside a tool any of them may find what is going away */
		if (!look.killed && rc && !(beside && (rc == 1 || rc == 4)) &&
		    !(rc == 4 && !strncmp(look.command, "check", 5)))
			unexpected(&look, rc);
		tool_close(&look);
	}
	if (beside) {
		rc = tool_wait(&t);
		if (rc && rc != 5)
			unexpected(&t, rc);
		tool_close(&t);
	}
	model_settle();
}

void act(enum action a)
{
	switch (a) {
	case ACT_TOGGLE:
		act_toggle();
		break;
	case ACT_REPLACE:
		act_replace();
		break;
	case ACT_KILL:
		act_kill();
		break;
	case ACT_SHORT:
		act_short();
		break;
	case ACT_HOLD:
		act_hold();
		break;
	case ACT_TWO:
		act_two();
		break;
	case ACT_PLUGIN:
		act_plugin();
		break;
	case ACT_FORCE:
		act_force();
		break;
	default:
		act_look();
		break;
	}
}

void unload_all(void)
{
	model_settle();
	for (unsigned tries = 0; tries < 16 * MODULES && model_live(); tries++) {
		const struct patch *p = &torture.patch[draw(torture.patches)];
		const struct module *m = p->m;
		struct tool t;
		int rc;

		if (model_is_remains(p))
			continue;
		tool_toggle(&t, m, false, "20");
		rc = tool_wait(&t);
		if (rc && rc != 5)
			unexpected(&t, rc);
		tool_close(&t);
		model_settle();
	}
}
