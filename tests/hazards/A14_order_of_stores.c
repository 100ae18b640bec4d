/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard A14: what a load and an unload write into a program's text, in their order. Behind the prefixes and behind
 * every single store of a site comes a core sync; a site is two stores of one byte; slots are stored by the helper
 * alone. Three functions of the engine are replaced to take the minutes. usage: A14_order_of_stores TARGET MODULE
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "on_target.h"

#define EVENTS_MAX 4096u

enum kind { SYNC, TEXT };
struct event {
	enum kind kind;
	uint64_t addr;
	size_t len;
};

static struct event event[EVENTS_MAX];
static size_t events;
static uint64_t slot; /* of the patched function, once its record is complete */
static unsigned slot_stores;

int __real_klp_remote_sync(struct klp_remote *r, struct klp_error *e);
int __wrap_klp_remote_sync(struct klp_remote *r, struct klp_error *e);
int __real_klp_remote_write_text(struct klp_remote *r, uint64_t addr, const void *buf, size_t len, struct klp_error *e);
int __wrap_klp_remote_write_text(struct klp_remote *r, uint64_t addr, const void *buf, size_t len, struct klp_error *e);
int __real_klp_process_write(const struct klp_process *p, uint64_t addr, const void *buf, size_t len,
			     struct klp_error *e);
int __wrap_klp_process_write(const struct klp_process *p, uint64_t addr, const void *buf, size_t len,
			     struct klp_error *e);

static void note(enum kind kind, uint64_t addr, size_t len)
{
	if (events < EVENTS_MAX)
		event[events++] = (struct event){kind, addr, len};
}

int __wrap_klp_remote_sync(struct klp_remote *r, struct klp_error *e)
{
	int rc = __real_klp_remote_sync(r, e);

	note(SYNC, 0, 0);
	return rc;
}

int __wrap_klp_remote_write_text(struct klp_remote *r, uint64_t addr, const void *buf, size_t len, struct klp_error *e)
{
	note(TEXT, addr, len);
	return __real_klp_remote_write_text(r, addr, buf, len, e);
}

int __wrap_klp_process_write(const struct klp_process *p, uint64_t addr, const void *buf, size_t len,
			     struct klp_error *e)
{
	if (slot && addr < slot + 8 && addr + len > slot)
		slot_stores++;
	/* The whole record is written once, before it is in use; its first word is the slot. */
	if (len == sizeof(struct klp_rt_site))
		slot = addr;
	return __real_klp_process_write(p, addr, buf, len, e);
}

static void print(void)
{
	for (size_t i = 0; i < events; i++)
		if (event[i].kind == SYNC)
			printf(" sync");
		else
			printf(" %zu@%lx", event[i].len, event[i].addr);
	printf("\n");
}

/* Whether event i is klp's own memory being filled: not text of the program. */
static bool in_program(uint64_t addr, uint64_t low, uint64_t high)
{
	return addr >= low && addr < high;
}

static void program_text(pid_t pid, uint64_t *low, uint64_t *high)
{
	char line[512], path[64];
	FILE *f;

	*low = *high = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned long a, b;
		char perms[8];

		if (sscanf(line, "%lx-%lx %7s", &a, &b, perms) == 3 && strstr(line, "/target") && perms[2] == 'x') {
			*low = a;
			*high = b;
		}
	}
	if (f)
		fclose(f);
	check(*high > *low, "the program's text is not mapped");
}

/* Each store is followed by a sync before the next one, and none is left without. Returns how many stores there were.
 */
static unsigned ordered(const char *what, uint64_t low, uint64_t high)
{
	unsigned single = 0;
	bool open = false;

	for (size_t i = 0; i < events; i++) {
		if (event[i].kind == SYNC) {
			open = false;
			continue;
		}
		if (!in_program(event[i].addr, low, high))
			continue;
		single += event[i].len == 1;
		check(!open, "%s: a store at %lx without a core sync behind the one before", what, event[i].addr);
		open = true;
	}
	check(!open, "%s: no core sync behind the last store", what);
	printf("%s:", what);
	print();
	return single;
}

int main(int argc, char **argv)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;
	uint64_t low, high;
	struct on_target t = {0};
	int rc;

	rc = on_target_begin(argc, argv, &t);
	if (rc)
		return rc;
	program_text(t.pid, &low, &high);
	rc = klp_load(t.pid, t.module, NULL, &result, &e);
	check(!rc, "load: %s", e.text);
	json_decref(result);
	check(ordered("load", low, high) == 2, "load: not two stores of one byte");
	check(slot != 0, "load: no site record was written");
	events = 0;
	result = NULL;
	rc = klp_unload(t.pid, "fix", NULL, &result, &e);
	check(!rc, "unload: %s", e.text);
	json_decref(result);
	check(ordered("unload", low, high) == 2, "unload: not two stores of one byte");
	check(!slot_stores, "a slot in use was stored %u times from outside", slot_stores);
	return on_target_end(&t);
}
