/* SPDX-License-Identifier: Apache-2.0 */
/* What the patches that status shows make of the target: which version of each group is called, and which no more. */
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTLE_TRIES 12

static uint64_t calls[TORTURE_WORKERS][TORTURE_GROUPS][TORTURE_VERSIONS];
static unsigned expected[TORTURE_GROUPS];
static bool remembered;

static const struct module *module_named(const char *name)
{
	for (unsigned i = 0; i < MODULES; i++)
		if (!strcmp(torture.module[i].name, name))
			return &torture.module[i];
	fail("status names a patch '%s' that nobody loaded", name);
}

void model_read(void)
{
	struct tool t;
	char pid[16];
	const json_t *process, *list;
	size_t n;

	snprintf(pid, sizeof(pid), "%d", torture.pid);
	tool_start(&t, "status", "--json", "-p", pid, NULL);
	if (tool_wait(&t))
		fail("klpctl status: exit code %d, %s", tool_wait(&t), tool_result(&t, "message"));
	process = json_array_get(json_object_get(t.json, "processes"), 0);
	list = json_object_get(process, "patches");
	torture.runtime = json_is_true(json_object_get(process, "runtime"));
	torture.patches = 0;
	memset(torture.patch, 0, sizeof(torture.patch));
	n = json_array_size(list);
	if (n > MODULES)
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
		entry->in_transition = json_is_object(json_object_get(p, "transition"));
		torture.patches++;
		for (size_t f = 0; !strcmp(state, "enabled") && f < json_array_size(functions); f++) {
			const char *site = json_string_value(json_object_get(json_array_get(functions, f), "site"));

			if (!site || strcmp(site, "armed"))
				fail("status: a site of '%s' is %s", name, site ? site : "not told");
		}
	}
	tool_close(&t);
}

bool model_has(const struct module *m)
{
	for (unsigned i = 0; i < torture.patches; i++)
		if (torture.patch[i].m == m && !strcmp(torture.patch[i].state, "enabled"))
			return true;
	return false;
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

	for (unsigned i = 0; i < torture.patches; i++)
		if (!strcmp(torture.patch[i].state, "enabled") && torture.patch[i].m->version[group])
			version = torture.patch[i].m->version[group];
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
		while (group_calls(g, expected[g], false) == group_calls(g, expected[g], true)) {
			target_check();
			if (now_ns() > until)
				fail("nobody calls version %u of group %c", expected[g], "ABCL"[g]);
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
				     torture.shared->worker[w].tid, torture.shared->worker[w].kind, v, "ABCL"[g],
				     count(w, g, v) - calls[w][g][v], expected[g]);
			}
		}
	}
	remembered = false;
}

void model_settle(void)
{
	for (unsigned i = 0; i < SETTLE_TRIES; i++) {
		const struct module *m;
		bool patching, load;
		struct tool t;
		int rc;

		model_read();
		m = model_transition(&patching);
		if (!m)
			return;
		load = draw(3) ? patching : !patching;
		tool_toggle(&t, m, load, "10");
		rc = tool_wait(&t);
		if (rc == 5)
			torture.pending_exits++;
		if (rc && rc != 5)
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
