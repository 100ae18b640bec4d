/* SPDX-License-Identifier: Apache-2.0 */
/* What the patches that status shows make of the target: which version of each group is called, and which no more. */
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTLE_TRIES 12
#define STATUS_TRIES 20

static uint64_t calls[TORTURE_WORKERS][TORTURE_GROUPS][TORTURE_VERSIONS];
static unsigned expected[TORTURE_GROUPS]; /* 0: nobody can call the group */
static bool remembered;
static char odd[256]; /* why the last look is to be repeated */

static const struct module *module_named(const char *name)
{
	for (unsigned i = 0; i < MODULES; i++)
		if (!strcmp(torture.module[i].name, name))
			return &torture.module[i];
	fail("status names a patch '%s' that nobody loaded", name);
}

static void model_pending(const json_t *list)
{
	size_t i;
	const json_t *p;

	torture.pending_known = json_is_array(list);
	if (json_array_size(list) > TORTURE_WORKERS)
		fail("status: %zu threads are pending", json_array_size(list));
	json_array_foreach(list, i, p)
	{
		torture.pending[torture.pendings++] = (uint32_t)json_integer_value(json_object_get(p, "tid"));
	}
}

/*
 * The sites of what is enabled are armed; those in the plug-in are gone, all of them, if it has been closed since.
 * False if one of those is neither: where the plug-in was, the program maps and unmaps something else while status
 * looks.
 */
static bool model_sites(struct patch *p, const json_t *functions)
{
	uint32_t phase = target_plugin_phase();
	unsigned armed = 0, gone = 0;

	for (size_t f = 0; f < json_array_size(functions); f++) {
		const json_t *fn = json_array_get(functions, f);
		const char *site = json_string_value(json_object_get(fn, "site"));
		const char *name = json_string_value(json_object_get(fn, "name"));
		bool plugin = name && !strncmp(name, "p_", 2);

		if (!site)
			fail("status does not tell of the site of %s of '%s'", name ? name : "?", p->m->name);
		gone += plugin && !strcmp(site, "gone");
		armed += plugin && !strcmp(site, "armed");
		if (!strcmp(site, "armed") || (plugin && !strcmp(site, "gone")))
			continue;
		snprintf(odd, sizeof(odd), "status: the site of %s of '%s' is %s (plug-in in phase %u)",
			 name ? name : "?", p->m->name, site, phase);
		/* It is there, and klp's; or nobody else comes to that place. */
		if (!plugin || p->m->opening == phase || !strchr(torture.kinds, 'c'))
			fail("%s", odd);
		return false;
	}
	p->gone = gone;
	if (gone && armed)
		fail("status: %u sites of '%s' are gone and %u are armed", gone, p->m->name, armed);
	if (armed && phase % PHASE_COUNT != PHASE_OPEN)
		fail("status: the sites of '%s' are armed, and the plug-in is closed", p->m->name);
	if (p->m->opening && p->m->version[TORTURE_P] && gone != (p->m->opening == phase ? 0 : gone + armed))
		fail("status: %u sites of '%s' are gone, which was loaded in the plug-in's phase %u; it is in %u now",
		     gone, p->m->name, p->m->opening, phase);
	if (armed)
		torture.module[p->m - torture.module].opening = phase;
	return true;
}

void model_read(void)
{
	for (unsigned i = 0; i < STATUS_TRIES; i++) {
		odd[0] = 0;
		if (model_try())
			return;
		if (!odd[0])
			fail("klpctl status finds what is going away, and no tool works");
	}
	fail("%s", odd);
}

bool model_try(void)
{
	struct tool t;
	char pid[16];
	const json_t *process, *list;
	bool steady = true;
	size_t n;
	int rc;

	snprintf(pid, sizeof(pid), "%d", torture.pid);
	tool_start(&t, "status", "--json", "-p", pid, NULL);
	rc = tool_wait(&t);
	if (rc == 4 && !strcmp(tool_result(&t, "reason"), "TARGET_MEMORY")) {
		tool_close(&t);
		return false;
	}
	if (rc)
		fail("klpctl status: exit code %d, %s", rc, tool_result(&t, "message"));
	process = json_array_get(json_object_get(t.json, "processes"), 0);
	list = json_object_get(process, "patches");
	torture.runtime = json_is_true(json_object_get(process, "runtime"));
	torture.patches = 0;
	memset(torture.patch, 0, sizeof(torture.patch));
	n = json_array_size(list);
	torture.pendings = 0;
	torture.pending_known = true;
	if (n > PATCHES)
		fail("status shows %zu patches", n);
	for (size_t i = 0; i < n; i++) {
		const json_t *p = json_array_get(list, i), *functions = json_object_get(p, "functions");
		const char *name = json_string_value(json_object_get(p, "name"));
		const char *state = json_string_value(json_object_get(p, "state"));
		struct patch *entry = &torture.patch[i];
		size_t k = 0;

		if (!name || !state)
			fail("status: a patch without name or state");
		/* In the order of the stack, whatever the order of the list. */
		for (size_t at = 0; at < i; at++)
			k += json_integer_value(json_object_get(json_array_get(list, at), "stack_order")) <
			     json_integer_value(json_object_get(p, "stack_order"));
		memmove(&torture.patch[k + 1], &torture.patch[k], (size_t)(i - k) * sizeof(*entry));
		entry = &torture.patch[k];
		memset(entry, 0, sizeof(*entry));
		entry->m = module_named(name);
		snprintf(entry->state, sizeof(entry->state), "%s", state);
		entry->forced = json_is_true(json_object_get(p, "forced"));
		entry->text =
		    (uint64_t)json_integer_value(json_object_get(json_array_get(functions, 0), "new_address"));
		entry->in_transition = json_is_object(json_object_get(p, "transition"));
		if (entry->in_transition)
			model_pending(json_object_get(json_object_get(p, "transition"), "pending"));
		torture.patches++;
		if (!strcmp(state, "enabled"))
			steady &= model_sites(entry, functions);
	}
	tool_close(&t);
	for (unsigned i = 0; i < MODULES; i++)
		if (!model_has(&torture.module[i]))
			torture.module[i].opening = 0;
	return steady;
}

bool model_has(const struct module *m)
{
	for (unsigned i = 0; i < torture.patches; i++)
		if (torture.patch[i].m == m && !strcmp(torture.patch[i].state, "enabled"))
			return true;
	return false;
}

bool model_has_gone(void)
{
	for (unsigned i = 0; i < torture.patches; i++)
		if (torture.patch[i].gone)
			return true;
	return false;
}

bool model_is_remains(const struct patch *p)
{
	return p->forced && !strcmp(p->state, "disabled");
}

unsigned model_live(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < torture.patches; i++)
		n += !model_is_remains(&torture.patch[i]);
	return n;
}

const struct module *model_transition(bool *patching)
{
	for (unsigned i = 0; i < torture.patches; i++) {
		if (!torture.patch[i].in_transition)
			continue;
		*patching = !strcmp(torture.patch[i].state, "enabling");
		return torture.patch[i].m;
	}
	return NULL;
}

unsigned model_version(unsigned group)
{
	unsigned version = 1;

	if (group == TORTURE_P && target_plugin_phase() % PHASE_COUNT != PHASE_OPEN)
		return 0;
	for (unsigned i = 0; i < torture.patches; i++) {
		const struct patch *p = &torture.patch[i];

		if (!strcmp(p->state, "enabled") && p->m->version[group] && !(group == TORTURE_P && p->gone))
			version = p->m->version[group];
	}
	return version;
}

static uint64_t count(unsigned worker, unsigned group, unsigned version)
{
	return __atomic_load_n(&torture.shared->worker[worker].calls[group][version], __ATOMIC_RELAXED);
}

void model_settled(void)
{
	for (unsigned g = 0; g < TORTURE_GROUPS; g++)
		expected[g] = model_version(g);
	for (unsigned w = 0; w < TORTURE_WORKERS; w++)
		for (unsigned g = 0; g < TORTURE_GROUPS; g++)
			for (unsigned v = 0; v < TORTURE_VERSIONS; v++)
				calls[w][g][v] = count(w, g, v);
	remembered = true;
}

static uint64_t group_calls(unsigned group, unsigned version, bool before)
{
	uint64_t n = 0;

	for (unsigned w = 0; w < TORTURE_WORKERS; w++)
		n += before ? calls[w][group][version] : count(w, group, version);
	return n;
}

/* Complete means: nobody is in another version than this one, and nobody enters one (children that were forked before
 * apart). */
void model_check(bool liveness)
{
	uint64_t until = now_ns() + TARGET_HANG_S * 1000000000ull;

	if (!remembered)
		return;
	for (unsigned g = 0; liveness && g < TORTURE_GROUPS; g++) {
		while (expected[g] && group_calls(g, expected[g], false) == group_calls(g, expected[g], true)) {
			target_check();
			if (now_ns() > until)
				fail("nobody calls version %u of group %c", expected[g], GROUP_LETTERS[g]);
			sleep_us(50);
		}
	}
	for (unsigned w = 0; w < TORTURE_WORKERS; w++) {
		for (unsigned g = 0; g < TORTURE_GROUPS; g++) {
			for (unsigned v = 0; v < TORTURE_VERSIONS; v++) {
				if (v == expected[g] || count(w, g, v) == calls[w][g][v])
					continue;
				fail("thread %u (kind %u) called version %u of group %c %lu times while version %u is "
				     "in force",
				     torture.shared->worker[w].tid, torture.shared->worker[w].kind, v, GROUP_LETTERS[g],
				     count(w, g, v) - calls[w][g][v], expected[g]);
			}
		}
	}
	remembered = false;
}

void model_settle(void)
{
	bool refused = false;

	for (unsigned i = 0; i < SETTLE_TRIES; i++) {
		const struct module *m;
		bool patching, load;
		struct tool t;
		int rc;

		model_read();
		m = model_transition(&patching);
		if (!m)
			return;
		load = (draw(3) ? patching : !patching) && !refused;
		tool_toggle(&t, m, load, "10");
		rc = tool_wait(&t);
		if (rc == 5)
			torture.pending_exits++;
		/* What it was to be loaded into has been closed: such a patch can be unloaded only. */
		refused = load && m->version[TORTURE_P] && (rc == 3 || rc == 4);
		if (rc && rc != 5 && !refused)
			fail("klpctl %s: exit code %d (%s: %s), while its transition is in flight", t.command, rc,
			     tool_result(&t, "reason"), tool_result(&t, "message"));
		if (rc == 5 && i + 1 == SETTLE_TRIES) {
			char *text = json_dumps(t.json, JSON_INDENT(1));

			fail("the transition does not end:\n%s", text);
		}
		tool_close(&t);
	}
	fail("the transition does not end");
}
