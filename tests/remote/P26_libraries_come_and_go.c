/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P26: the dynamic linker's list of objects is read while a thread of the target loads and unloads libraries as fast as
 * it can. It is read as it was at one moment, or the answer is BUSY: a library that has gone meanwhile is no failure,
 * and a list that was cut short beside a node being freed is not believed.
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "klp/scope.h"

#define KEPT "libresolv.so.2" /* loaded last of those that stay */

static const char *const library[] = {"libBrokenLocale.so.1", "libthread_db.so.1", "libanl.so.1"};

static atomic_uint *turns;

static void target(void)
{
	void *handle[3];

	if (!dlopen(KEPT, RTLD_NOW | RTLD_NODELETE))
		_exit(2);
	for (;; atomic_fetch_add(turns, 1)) {
		for (unsigned i = 0; i < 3; i++)
			handle[i] = dlopen(library[i], RTLD_LAZY);
		if (!handle[0])
			_exit(3);
		for (unsigned i = 0; i < 3; i++)
			if (handle[(i + *turns) % 3])
				dlclose(handle[(i + *turns) % 3]);
	}
}

static bool look(pid_t pid, unsigned *busy)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_definition def;
	struct klp_process p;
	struct klp_scope s;
	bool kept = false;
	int rc = klp_process_open(pid, &p, &e);

	check(!rc, "opening it: %s", e.text);
	if (rc)
		return false;
	rc = klp_scope_open(&p, &s, &e);
	if (!rc) {
		for (size_t i = 0; i < s.count; i++)
			kept |= s.dso[i].o->path && strstr(s.dso[i].o->path, KEPT);
		check(kept, "the list is cut short: %zu objects", s.count);
		check(klp_scope_lookup(&s, &s.dso[0], "getpid", NULL, false, &def, &e) == 1, "getpid: %s", e.text);
		klp_scope_close(&s);
	} else if (e.reason == KLP_BUSY) {
		++*busy;
		rc = 0;
	}
	check(!rc, "its list: %s %s", klp_reason_name(e.reason), e.text);
	klp_process_close(&p);
	return !rc;
}

int main(void)
{
	unsigned all = rounds(2000, 50000), done = 0, busy = 0;
	pid_t pid;

	turns = shared(sizeof(*turns));
	pid = fork_bound();
	if (!pid)
		target();
	while (!atomic_load(turns) && !kill(pid, 0))
		sleep_ms(1);
	while (done < all && look(pid, &busy))
		done++;
	check(busy < done / 10, "%u of %u times it was busy", busy, done);
	printf("%u looks, %u busy; %u turns\n", done, busy, atomic_load(turns));
	finish(pid);
	return check_end();
}
